"""What can be the redshift and the centre of a cluster."""

from sbi_clustermass.observations.tables.errors import problem

MAX_REDSHIFT = 2.0


def check_redshift(where: str, redshift: float) -> None:
    """Refuse what is not the redshift of a cluster.

    Raises:
        TableError: Not between 0 and 2.
    """
    if not 0 < redshift <= MAX_REDSHIFT:
        advice = (
            f"c z in km/s? Then z is {redshift / 299_792.458:.4f}" if redshift > 100 else "pass the cluster's redshift"
        )
        what = f"the redshift of a cluster lies between 0 and {MAX_REDSHIFT:g}."
        raise problem(where, what, found=f"{redshift:g}", advice=advice)


def check_centre(where: str, centre: tuple[float, float]) -> None:
    """Refuse what is not a point on the sky.

    Raises:
        TableError: Right ascension outside -180 to 360 or declination outside -90 to 90 degrees.
    """
    ra, dec = centre
    if not (-180 <= ra <= 360 and -90 <= dec <= 90):
        what = "a centre is right ascension (0 to 360) and declination (-90 to 90), both in degrees."
        raise problem(where, what, found=f"{ra:g}, {dec:g}", advice="194.95, 27.98 is Coma")
