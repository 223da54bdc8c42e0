"""The aggregators by kind. One more is a file here with its row below, and its options in `aggregator_options.py`."""

from napari_caltomorph.diagnosis.aggregator_options import AggregatorOptions
from napari_caltomorph.diagnosis.aggregators.abmil import AbmilAggregator
from napari_caltomorph.diagnosis.aggregators.base import Aggregator, mlp
from napari_caltomorph.diagnosis.aggregators.pooling import MaxAggregator, MeanAggregator
from napari_caltomorph.diagnosis.aggregators.transformer import TransformerAggregator
from napari_caltomorph.diagnosis.aggregators.wbcmil import WbcmilAggregator

AGGREGATORS: dict[str, type[Aggregator]] = {
    "transformer": TransformerAggregator,
    "abmil": AbmilAggregator,
    "wbcmil": WbcmilAggregator,
    "mean": MeanAggregator,
    "max": MaxAggregator,
}


def build_aggregator(
    feature_width: int, classes: int, options: AggregatorOptions, *, dropout: float = 0.0
) -> Aggregator:
    """Build the aggregator that the options describe, with random weights."""
    return AGGREGATORS[options.kind](feature_width, classes, options, dropout=dropout)


__all__ = [
    "AGGREGATORS",
    "AbmilAggregator",
    "Aggregator",
    "MaxAggregator",
    "MeanAggregator",
    "TransformerAggregator",
    "WbcmilAggregator",
    "build_aggregator",
    "mlp",
]
