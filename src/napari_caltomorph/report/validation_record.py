"""A local validation as an HTML record that prints on two pages, which a laboratory can sign and file.

The first page has the verdict and what it rests on, the second what explains it and what was tested. Long lists are
cut to fit on two pages; ``validation.json`` has the rest.
"""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from napari_caltomorph.about import RESEARCH_USE, library_version
from napari_caltomorph.errors import counted, printable, shortened
from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.laboratory import Validation
from napari_caltomorph.laboratory.validation import Compared, Subgroup
from napari_caltomorph.laboratory.verdict import Check
from napari_caltomorph.report.drawing import PAPER, PlotStyle, draw_sentence, new_figure, prepare_plot, title
from napari_caltomorph.report.html import figure_uri, render
from napari_caltomorph.report.patient_texts import Excerpt
from napari_caltomorph.report.probability_figures import draw_malignancy_reliability, draw_roc
from napari_caltomorph.statistics.interval import percent
from napari_caltomorph.statistics.metric import METRICS

_MARKS = {"met": "✓ met", "failed": "✗ not met", "undecided": "? undecided"}
_COLORS = {
    "use": "#1b7f3b",
    "use with changed threshold": "#b35c00",
    "too few cases": "#5c5c5c",
    "do not use": "#b00020",
}
_MEANINGS = {
    "use": "All criteria are met at the model's own threshold.",
    "use with changed threshold": "All criteria are met at another threshold, on patients that did not choose it.",
    "too few cases": "Nothing is shown to fail, and not everything is shown to be met.",
    "do not use": "At least one criterion is shown not to be met, at any threshold that was tried.",
}
_BY = {
    "bound": "met: the whole 95 % interval keeps the limit; not met: the whole interval breaks it; else undecided",
    "point": "met where the number itself keeps the limit, whatever its interval",
}
_SEARCHED = {"not possible": "could not be searched for: the model does not include their list"}
_FULL_PAGE = 2800  # Characters
_MOST_REASONS, _MOST_SUBGROUPS, _MOST_SENTENCES, _LONGEST = 4, 8, 3, 260


def validation_record(validation: Validation, evaluation: Evaluation, *, command: str = "") -> str:
    """Return the record: HTML that loads nothing from a network. `save_page` writes it.

    `evaluation` is what was validated; the figures are drawn from it. `command` is the command line, for the record.
    """
    verdict, known, stated = validation.verdict, validation.provenance, validation.stated
    values: dict[str, Any] = {
        "validation": validation,
        "known": known,
        "title": shortened(f"{known.model_name} on {known.cohort_name}", 70),
        "color": _COLORS[verdict.kind],
        "meaning": _MEANINGS[verdict.kind],
        "reasons": Excerpt.of([shortened(reason, _LONGEST) for reason in verdict.reasons], _MOST_REASONS),
        "needed": _more(validation),
        "checks": _check_rows(validation),
        "has_changed": validation.at_changed is not None,
        "by": _BY[validation.criteria.judged_by],
        "dated": f"last changed {stated.changed[:10]}" if stated.changed else "set by the software's authors",
        "numbers": [_number_row(one) for one in validation.numbers],
        "figure": figure_uri(_figure(validation, evaluation)),
        "threshold": _threshold(validation),
        "calibration": _calibration(validation),
        "domain": _domain(validation),
        "subgroups": Excerpt.of([_subgroup_row(one) for one in validation.subgroups], _MOST_SUBGROUPS),
        "audit": _shown(() if validation.audit is None else validation.audit.findings),
        "notes": Excerpt.of([shortened(one, 200) for one in validation.notes], 2),
        "statements": _shown(validation.statements),
        "facts": _facts(validation, printable(command)),
        "signatures": ("Tested by", "Approved by"),
        "research_use": RESEARCH_USE,
    }
    # Either page is set smaller where it would not fit.
    words = ("threshold", "calibration", "domain", "audit", "notes", "statements")
    length = sum(len(str(values[name])) for name in words) + 90 * len(values["subgroups"].shown)
    values["is_long"] = (len(values["checks"]) > 9, length > _FULL_PAGE)
    return render("validation.html.j2", values)


def _shown(sentences: tuple[str, ...]) -> Excerpt[str]:
    return Excerpt.of([shortened(one, _LONGEST) for one in sentences], _MOST_SENTENCES)


def _more(validation: Validation) -> list[str]:
    return [
        f"{count:,} more {which}" if count is not None else f"more {which} would not decide it at these numbers"
        for which, count in validation.verdict.more.items()
    ]


def _check_rows(validation: Validation) -> list[tuple[str, str, str, int, str, str, str]]:
    """Criterion, limit, number, patients, result; and number and result at another threshold."""
    changed = {check.name: check for check in validation.at_changed or ()}

    def row(check: Check) -> tuple[str, str, str, int, str, str, str]:
        other = changed.get(check.name)
        elsewhere = ("", "") if other is None else (other.shown, _MARKS[other.outcome])
        name = shortened(check.name[:1].upper() + check.name[1:], 36)
        return (name, check.limit_in_words, check.shown, check.metric.patients, _MARKS[check.outcome], *elsewhere)

    return [row(check) for check in (*validation.at_model, *validation.fixed)]


def _number_row(one: Compared) -> tuple[str, str, str, str]:
    """A number's name, what it is of, the number here, and that of the model card."""
    shown, here, trained = METRICS[one.name], one.here.shown(2), one.trained
    if trained is None:
        return shown.title, shown.of, here, ""
    interval = "" if trained.low is None or trained.high is None else f" ({trained.low:.2f} to {trained.high:.2f})"
    return shown.title, shown.of, here, f"{round(trained.value, 2) + 0.0:.2f}{interval}"  # and not -0.00


def _threshold(validation: Validation) -> list[str]:
    own, changed = validation.provenance.threshold, validation.threshold
    sentences = [f"The model's threshold of malignancy is {own.value:.3g}: {shortened(own.rule, 160)}."]
    if changed is not None:
        sentences += [
            f"Chosen here on {counted(changed.cases, 'malignant patient')} by the rule “{changed.rule}”, which the "
            f"criteria name: {changed.value:.3g} (from {changed.lowest:.3g} to {changed.highest:.3g} without a tenth "
            f"of the patients). It misses {changed.missed} of them, which allows up to "
            f"{percent(changed.miss_bound, 1)} of others (95 %).",
            "Its numbers in the table of criteria are cross-fitted: each patient is called at a threshold that the "
            "other nine tenths chose.",
        ]
    return sentences


def _calibration(validation: Validation) -> list[str]:
    line = validation.calibration
    if line is None:
        return []
    numbers = (
        f"Intercept {line.intercept.value:.2f} ({line.intercept.low:.2f} to {line.intercept.high:.2f}; 0 is right), "
        f"slope {line.slope.value:.2f} ({line.slope.low:.2f} to {line.slope.high:.2f}; below 1 is too certain)."
    )
    if line.gain is None or line.gain.low is None:
        return [numbers, line.in_words]
    gain = f"Gain in log loss, cross-fitted: {line.gain.value:+.3f} ({line.gain.low:+.3f} to {line.gain.high:+.3f})."
    return [numbers, line.in_words, gain]


def _domain(validation: Validation) -> list[str]:
    domain = validation.domain
    if not domain.outside.is_defined:
        return [f"Not known: {domain.outside.remark}.", *domain.images]
    sentences = [f"Unlike the training cohort: {domain.outside.shown(2)} of {domain.outside.patients} smears."]
    if domain.aspects:
        sentences.append("Far out in " + ", ".join(f"{name}: {count}" for name, count in domain.aspects.items()) + ".")
    if domain.other_scale:
        sentences.append(f"Images of another scale than in training: {counted(domain.other_scale, 'patient')}.")
    return [*sentences, *domain.images, "Cell types are not compared by themselves; they are part of the features."]


def _subgroup_row(one: Subgroup) -> tuple[str, ...]:
    shares = (f"{m.shown(2)}" if m.is_defined else "-" for m in (one.sensitivity, one.specificity, one.auroc))
    return (one.column, shortened(one.value, 24), str(one.patients), str(one.sensitivity.patients), *shares)


def _facts(validation: Validation, command: str) -> list[tuple[str, str]]:
    known, stated = validation.provenance, validation.stated
    versions = ", ".join(f"{name} {number}" for name, number in known.library_versions.items())
    facts = [
        ("model", f"{known.model_name}, {counted(known.members, 'member')}; fingerprint {known.model_fingerprint}"),
        ("encoder", f"{known.encoder or 'not named'}; weights SHA-256 {known.encoder_weights_sha256 or 'unknown'}"),
        ("trained on", shortened(known.training_cohort, 120)),
        ("cohort", f"{shortened(known.cohort_source, 90)}; fingerprint {known.cohort_fingerprint}"),
        ("patients left out", ", ".join(f"{name}: {n}" for name, n in known.cohort_left_out.items()) or "none"),
        ("training patients among them", _SEARCHED.get(known.training_check, f"searched by {known.training_check}")),
        ("criteria", f"{shortened(stated.source, 90)}; SHA-256 {stated.sha256}"),
        ("software", f"{versions}; record by napari-caltomorph {library_version()}"),
        ("evaluated", f"{known.created}, on {known.device}"),
    ]
    return [*facts, ("command", shortened(command, _LONGEST))] if command else facts


def _figure(validation: Validation, evaluation: Evaluation) -> Figure:
    figure = new_figure(10.4, 3.1)
    roc, calibration, domain = figure.subplots(1, 3)
    draw_roc(roc, evaluation)
    _draw_operating_intervals(roc, evaluation)
    draw_malignancy_reliability(calibration, evaluation)
    _draw_domain(domain, validation)
    return figure


def _draw_operating_intervals(axes: Axes, evaluation: Evaluation) -> None:
    """Draw the 95 % intervals of sensitivity and specificity at the threshold, where both are defined."""
    point = evaluation.at()
    sensitivity, specificity = point.sensitivity, point.specificity
    if sensitivity.low is None or sensitivity.high is None or specificity.low is None or specificity.high is None:
        return
    assert sensitivity.value is not None
    assert specificity.value is not None
    x, y = 1 - specificity.value, sensitivity.value
    axes.plot([1 - specificity.high, 1 - specificity.low], [y, y], color="#d55e00", linewidth=1.2)
    axes.plot([x, x], [sensitivity.low, sensitivity.high], color="#d55e00", linewidth=1.2)


def _draw_domain(axes: Axes, validation: Validation, style: PlotStyle = PAPER) -> None:
    """Draw the share of smears outside the training domain with its interval, and along what they are."""
    outside = validation.domain.outside
    if outside.value is None or outside.low is None or outside.high is None:
        draw_sentence(axes, f"No domain: {outside.remark}.", style)
        return
    prepare_plot(axes, style)
    bars = {"outside": outside.value} | {
        name: count / outside.patients for name, count in validation.domain.aspects.items()
    }
    axes.barh(range(len(bars)), list(bars.values()), height=0.55, color=["#d55e00", *["#e9a06b"] * (len(bars) - 1)])
    axes.plot([outside.low, outside.high], [0, 0], color=style.text, linewidth=1.4)
    limit = validation.criteria.share_outside_domain_at_most
    if limit is not None:
        axes.axvline(limit, color=style.text, linewidth=1, linestyle=":")
    names = [shortened(name.removeprefix("its ").removeprefix("the "), 24) for name in bars]
    axes.set_yticks(range(len(bars)), names)
    axes.set(
        xlim=(0, 1),
        ylim=(max(len(bars), 3) - 0.5, -0.5),
        xlabel="share of smears" + (" (dotted: limit)" if limit else ""),
    )
    title(axes, "unlike the training cohort", style)
