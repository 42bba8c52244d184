"""The paper's numbers, typed a second time from its text, stand in every table beside ours."""

import pytest
from kodi_ramanah_2020 import OTHER_SIMULATOR, PUBLISHED, TABLE_1


def test_the_numbers_are_those_of_abstract_and_section_5():
    contaminated, pure = PUBLISHED["contaminated"], PUBLISHED["pure"]
    # the paper's epsilon is log10(true/predicted): its means are .028 and .007
    assert (contaminated.mean, contaminated.scatter, contaminated.intermediate) == (-0.028, 0.126, 0.089)
    assert (pure.mean, pure.scatter) == (-0.007, 0.058)
    assert contaminated.massive == 0.067
    assert (contaminated.sigma_N, contaminated.sigma_0) == (0.07, 0.05)
    assert (pure.sigma_N, pure.sigma_0) == (0.05, 0.05)
    assert (contaminated.width, pure.width) == (0.13, 0.08)


@pytest.mark.parametrize(
    "line",
    """Coma 14.84 0.11 14.91 0.11
    A1689 14.88 0.10 15.05 0.12
    A85 14.78 0.13 14.88 0.07
    A119 14.60 0.12 14.61 0.11
    A576 14.72 0.10 14.69 0.08
    A1651 14.85 0.13 14.81 0.11
    A2142 14.83 0.14 14.95 0.14
    A2670 14.60 0.10 14.72 0.10""".splitlines(),
)
def test_table_1_is_the_papers(line):
    name, *numbers = line.split()
    row = next(row for row in TABLE_1 if row.name == name)
    assert [*row.inferred, *row.literature[:2]] == [float(number) for number in numbers]
    assert row.literature[2] == (0.04 if name == "A2142" else row.literature[1])


def test_a_reader_is_told_of_the_other_simulator():
    assert "MDPL2" in OTHER_SIMULATOR
    assert "another simulator" in OTHER_SIMULATOR
