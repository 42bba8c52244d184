"""Figure of the losses during a training."""

from matplotlib.figure import Figure

from sbi_clustermass.report.style import BLUE, GREY
from sbi_clustermass.training import History


def history(*records: History) -> Figure:
    """Training and validation loss against weight updates, one line for each member of an ensemble."""
    figure = Figure(figsize=(5.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for record in records:
        first = record is records[0]
        axes.plot(record.updates, record.training_loss, color=GREY, label="training" if first else None)
        axes.plot(record.updates, record.validation_loss, color=BLUE, label="validation" if first else None)
        axes.axvline(record.best_update, color="k", ls="--", lw=1, label="weights kept" if first else None)
    axes.set(xlabel="weight updates", ylabel="loss [nats]")
    axes.legend(fontsize=8)
    return figure
