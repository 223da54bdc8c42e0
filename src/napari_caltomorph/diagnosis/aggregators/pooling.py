"""Mean and maximum over the cells, feature by feature: the baselines, which attend to no cell."""

from __future__ import annotations

from torch import Tensor

from napari_caltomorph.diagnosis.aggregator_options import MaxOptions, MeanOptions
from napari_caltomorph.diagnosis.aggregators.base import Aggregator


class _Pooling(Aggregator):
    def __init__(
        self, feature_width: int, classes: int, options: MeanOptions | MaxOptions, *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.width = feature_width

    def attention(self, kept: list[Tensor]) -> None:
        """There is none."""
        return None


class MeanAggregator(_Pooling):
    """The mean of the cells' features."""

    attention_kind = MeanOptions.attention_kind

    def pool(self, bags: Tensor, mask: Tensor | None, keep: list[Tensor] | None) -> Tensor:
        """Pool B bags into (B, D)."""
        return masked_mean(bags, mask)


class MaxAggregator(_Pooling):
    """The largest value of each feature among the cells."""

    attention_kind = MaxOptions.attention_kind

    def pool(self, bags: Tensor, mask: Tensor | None, keep: list[Tensor] | None) -> Tensor:
        """Pool B bags into (B, D)."""
        if mask is not None:
            bags = bags.masked_fill(~mask[..., None], float("-inf"))
        return bags.amax(1)


def masked_mean(cells: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of finite cells (B, N, D) over the N that the mask (B, N) names: (B, D)."""
    if mask is None:
        return cells.mean(1)
    return cells.masked_fill(~mask[..., None], 0).sum(1) / mask.sum(1, keepdim=True)
