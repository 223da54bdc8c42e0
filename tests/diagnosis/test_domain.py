"""What a model knows of its training cohort: who is called unlike it, how often wrongly, and what is kept for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from napari_caltomorph.diagnosis.domain import DOMAIN_FILE, TAILS, AspectResult, Domain, DomainResult
from napari_caltomorph.diagnosis.domain_fit import LEAST_PATIENTS, fit_domain
from napari_caltomorph.errors import ModelRefused
from napari_caltomorph.smear.image_traits import APPEARANCE, SIZES

WIDTH, EMBEDDING, MEMBERS = 10, 6, 3
TYPES = np.random.default_rng(5).normal(scale=4, size=(4, WIDTH))
PROJECTIONS = np.random.default_rng(6).normal(size=(MEMBERS, WIDTH, EMBEDDING))
SEAL = "5" * 64


def smear(seed, cells=60, shift=0.0):
    """Cells of four types in a mixture of the patient's own, with a colour of the patient's own."""
    rng = np.random.default_rng([7, seed])
    kinds = rng.choice(4, size=cells, p=rng.dirichlet([5, 3, 2, 1]))
    colour = 0.3 * rng.normal(size=WIDTH)
    return (TYPES[kinds] + colour + rng.normal(size=(cells, WIDTH)) + shift).astype(np.float32)


def embedded(values):
    """(M, E): what members make of a smear."""
    return np.stack([np.tanh(values.mean(axis=0) @ projection / 3) for projection in PROJECTIONS]).astype(np.float32)


def fitted(patients=150, folds=None, cells=60):
    bags = [smear(seed, cells) for seed in range(patients)]
    embeddings = np.stack([embedded(bag) for bag in bags], axis=1)
    return fit_domain(bags, embeddings, np.arange(patients) % MEMBERS if folds is None else folds)


@pytest.fixture(scope="module")
def domain(with_images):
    return replace(with_images, images=None)


def evaluated(domain, values, traits=None):
    return domain.compare(values, embedded(values), traits)


def seen(seed, shift=0.0):
    """Traits of a smear's images: stains differ between patients, by a few percent, and in all channels alike."""
    rng = np.random.default_rng([8, seed])
    stain = 0.2 + 0.02 * rng.normal() + shift
    return {name: float(stain + 0.005 * rng.normal()) for name in APPEARANCE} | {"height": 144.0, "width": 144.0}


@pytest.fixture(scope="module")
def with_images():
    bags = [smear(seed) for seed in range(150)]
    traits = pd.DataFrame([seen(seed) for seed in range(150)])
    return fit_domain(bags, np.stack([embedded(bag) for bag in bags], axis=1), np.arange(150) % MEMBERS, traits)


def test_images_of_another_laboratory_are_noticed_where_features_are_not(domain, with_images):
    usual = [evaluated(with_images, smear(60_000 + seed), seen(60_000 + seed)) for seed in range(300)]
    assert 0.01 <= np.mean([one.is_outside for one in usual]) <= 0.10
    assert [one.aspect for one in usual[0].aspects] == ["cells", "smear", "embedding", "images"]
    for other in (seen(3, shift=0.15), seen(3) | {"height": 180.0, "width": 180.0}):
        result = evaluated(with_images, smear(70_000), other)
        assert result.is_outside
        assert "background" in result.in_words
        assert not evaluated(with_images, smear(70_000)).is_outside
    assert evaluated(with_images, smear(3, shift=3), seen(3)).is_outside
    assert evaluated(with_images, smear(5)) == evaluated(domain, smear(5), seen(5))


def test_a_smear_whose_images_were_measured_in_part_is_compared_by_that_part(with_images):
    part = {name: value for name, value in seen(9).items() if name in SIZES}
    assert not evaluated(with_images, smear(9), part).is_outside
    assert [one.aspect for one in evaluated(with_images, smear(9), {}).aspects] == ["cells", "smear", "embedding"]


def test_a_cohort_of_few_images_has_no_images_in_its_domain():
    traits = pd.DataFrame([seen(seed) if seed < 20 else {} for seed in range(40)])
    bags = [smear(seed) for seed in range(40)]
    embeddings = np.stack([embedded(bag) for bag in bags], axis=1)
    assert fit_domain(bags, embeddings, np.arange(40) % MEMBERS, traits).images is None


def test_patients_of_the_training_domain_are_called_outside_at_the_nominal_rate(domain):
    results = [evaluated(domain, smear(10_000 + seed)) for seed in range(400)]
    assert 0.01 <= np.mean([one.is_outside for one in results]) <= 0.10
    unusual = np.mean([one.unusual_share for one in results])
    assert 0.005 <= unusual <= 0.02
    for index in range(3):
        assert np.mean([one.aspects[index].p_value <= 0.05 for one in results]) <= 0.10


def test_few_cells_alone_make_no_smear_outside(domain):
    assert np.mean([evaluated(domain, smear(20_000 + seed, cells=8)).is_outside for seed in range(200)]) <= 0.12


def test_the_larger_a_shift_the_more_smears_are_outside(domain):
    rates = [
        np.mean([evaluated(domain, smear(30_000 + seed, shift=shift)).is_outside for seed in range(60)])
        for shift in (0, 0.3, 0.6, 1.2)
    ]
    assert rates == sorted(rates)
    assert rates[-1] > 0.95


def test_the_most_unusual_cell_comes_first(domain):
    values = smear(1)
    values[17] += 30
    result = evaluated(domain, values)
    assert result.unusual[0] == 17
    assert result.cell_tails[17] == 0
    assert sorted(result.unusual) == list(range(60))


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(12)))
def test_order_of_cells_does_not_matter(domain, order):
    values = smear(3, cells=12)
    one, other = evaluated(domain, values), evaluated(domain, values[order])
    assert one.p_value == other.p_value
    assert np.allclose(np.array(one.cell_tails)[order], other.cell_tails, atol=1e-5)


@pytest.mark.parametrize("cells", [1, 2, 1000])
def test_smears_of_any_size_are_compared(domain, cells):
    result = evaluated(domain, smear(4, cells))
    assert len(result.cell_tails) == cells
    assert 0 < result.p_value <= 1


def test_equal_cells_are_no_reason_to_fail(domain):
    assert evaluated(domain, np.zeros((40, WIDTH), np.float32)).is_outside
    assert evaluated(domain, np.full((40, WIDTH), 1e15, np.float32)).is_outside


def test_the_smears_distance_is_that_of_the_two_covariances(domain):
    """Recomputed with the matrices themselves: variance of patients, and of the average of so many cells."""
    member, values = domain.members[0], smear(11, cells=25)
    back = np.linalg.inv(member.axes)  # values = centre + placed @ back
    within, between = (back.T @ np.diag(v) @ back for v in (member.within, member.between))
    shift = values.mean(axis=0, dtype=np.float64) - member.centre
    expected = shift @ np.linalg.inv(between + within / 25) @ shift / WIDTH
    (_, outcome, _), _ = member.distances(values, embedded(values)[0])
    assert np.exp(outcome) == pytest.approx(expected, rel=1e-6)


def test_axes_are_those_along_which_cells_of_one_smear_vary_independently(domain):
    bags = [smear(seed) for seed in range(150) if seed % MEMBERS != 0]
    within = np.mean([np.cov(bag.T) for bag in bags], axis=0)
    axes = domain.members[0].axes
    along = axes.T @ within @ axes
    assert np.allclose(along, np.diag(domain.members[0].within), atol=0.02 * np.abs(along).max())


def test_p_value_is_the_share_of_unseen_patients_as_far_out():
    few = fitted(30)
    values = smear(50)
    result = evaluated(few, values)
    count = 0
    for member, embedding, rows in zip(few.members, embedded(values), few.held_out, strict=True):
        scores = (member.distances(values, embedding)[0] - few.scale[:, 0]) / few.scale[:, 1]
        count += sum(np.maximum(scores, -1).sum() <= other for other in rows[-1])
    assert result.p_value == pytest.approx((count + 1) / 31)
    assert result.as_far_out == count


def test_no_patient_is_measured_by_a_member_that_was_trained_on_them():
    bags = [smear(seed) for seed in range(40)]
    bags[0] = bags[0] + 50  # only the member that did not train on it has never seen such a bag
    embeddings = np.stack([embedded(bag) for bag in bags], axis=1)
    created = fit_domain(bags, embeddings, np.arange(40) % MEMBERS)
    farthest = [rows[-1].max() for rows in created.held_out]
    assert np.argmax(farthest) == 0
    assert farthest[0] > 5 * max(farthest[1:])


def test_patients_set_aside_change_nothing():
    folds = np.arange(40) % MEMBERS
    folds[30:] = -1
    with_them, without = fitted(40, folds), fitted(30)
    for one, other in zip(with_them.held_out, without.held_out, strict=True):
        assert np.allclose(one, other)


def test_patients_of_all_members_are_in_the_domain_but_not_in_its_scale():
    folds = np.arange(60) % MEMBERS
    folds[:20] = -2
    assert fitted(60, folds).patients == 40


def test_too_few_unseen_patients_make_no_domain():
    assert fitted(LEAST_PATIENTS - 1) is None
    assert fitted(LEAST_PATIENTS).patients == LEAST_PATIENTS


def test_what_is_kept_holds_no_row_of_one_patient(domain):
    for rows in domain.held_out:
        assert (np.diff(rows, axis=1) >= 0).all()
    assert domain.cell_distances.shape == TAILS.shape
    count = len(domain.to_bytes(SEAL))
    assert len(fitted(300).to_bytes(SEAL)) - count < 300 * 4 * 4 + 2000


@pytest.mark.parametrize("name", ["domain", "with_images"])
def test_a_saved_domain_gives_the_same_scores(name, tmp_path, request):
    domain, path = request.getfixturevalue(name), tmp_path / DOMAIN_FILE
    path.write_bytes(domain.to_bytes(SEAL))
    loaded = Domain.load(path, SEAL, WIDTH, [EMBEDDING] * MEMBERS)
    for seed in range(20):
        one, other = (evaluated(which, smear(40_000 + seed), seen(seed)) for which in (domain, loaded))
        assert other.p_value == pytest.approx(one.p_value, abs=0.02)
        assert [a.score for a in other.aspects] == pytest.approx([a.score for a in one.aspects], abs=0.02)


@pytest.mark.parametrize("spoil", [lambda b: b[:200], lambda b: b"no tensors", lambda b: b[:-40]])
def test_damaged_file_is_refused(domain, tmp_path, spoil):
    (tmp_path / DOMAIN_FILE).write_bytes(spoil(domain.to_bytes(SEAL)))
    with pytest.raises(ModelRefused, match=r"domain\.safetensors .*get the model again"):
        Domain.load(tmp_path / DOMAIN_FILE, SEAL, WIDTH, [EMBEDDING] * MEMBERS)


def test_file_of_another_model_is_refused(domain, tmp_path):
    (tmp_path / DOMAIN_FILE).write_bytes(domain.to_bytes("6" * 64))
    with pytest.raises(ModelRefused, match="another model"):
        Domain.load(tmp_path / DOMAIN_FILE, SEAL, WIDTH, [EMBEDDING] * MEMBERS)


def result(p_value, *aspects):
    names = ("cells", "smear", "embedding")
    each = [AspectResult(aspect=n, p_value=p, score=1 / p, reference=(-1, 0, 1)) for n, p in zip(names, aspects)]  # noqa: B905
    return DomainResult(p_value=p_value, patients=99, aspects=tuple(each), cell_tails=(0.5, 0.001, 0.3, 0.9))


def test_sentence_names_where_the_smear_is_unlike_and_how_many_are_as_far_out():
    words = result(0.01, 0.02, 0.9, 0.03).in_words
    assert words.startswith("Unlike the training cohort in its single cells and its embeddings: 0 of 99")
    assert "25 % of the cells are unusual (1 % expected)" in words
    assert "in the average of its cells: 4 of 99" in result(0.05, 0.4, 0.06, 0.3).in_words
    assert result(0.06, 0.4, 0.06, 0.3).in_words.startswith("Like the training cohort: 5 of 99")


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("scale", lambda a: a[:2]),
        ("scale", lambda a: -a),
        ("unseen.1", lambda a: a[0]),
        ("unseen.1", lambda a: a[:, ::-1]),
        ("cell_distances", lambda a: a[::-1]),
        ("axes.0", lambda a: a[:, :4]),
        ("looks.0", lambda a: a[:0]),
        ("within.2", lambda a: a * 0),
        ("embedding_variances.0", lambda a: a * np.float32(1e-40)),
        ("between.2", lambda a: a - 1e9),
        ("embedding_basis.0", lambda a: a[:3]),
        ("embedding_variances.0", lambda a: a[:-1]),
        ("centre.0", lambda a: np.append(a[1:], np.float32(np.inf))),
        ("embedding_centre.0", lambda a: a + np.float32(1e30)),
        ("centre.0", lambda a: a.astype(int)),
        ("images.centre", lambda a: a[:, 1:]),
        ("images.spread", lambda a: a * 0),
        ("images.scale", lambda a: -a),
        ("images.unseen.1", lambda a: a[:, ::-1]),
        ("images.precision", lambda a: a[0]),
    ],
)
def test_measurements_of_another_shape_type_or_impossible_value_are_refused(with_images, tmp_path, name, spoil):
    tensors = load(with_images.to_bytes(SEAL))
    tensors[name] = np.ascontiguousarray(spoil(tensors[name]))
    (tmp_path / DOMAIN_FILE).write_bytes(save(tensors, metadata={"seal": SEAL}))
    with pytest.raises(ModelRefused, match=r"domain\.safetensors .*get the model again"):
        Domain.load(tmp_path / DOMAIN_FILE, SEAL, WIDTH, [EMBEDDING] * MEMBERS)


def test_domain_of_members_of_another_width_is_refused(domain, tmp_path):
    (tmp_path / DOMAIN_FILE).write_bytes(domain.to_bytes(SEAL))
    for width, embedding_widths in ((WIDTH + 1, [EMBEDDING] * MEMBERS), (WIDTH, [EMBEDDING, EMBEDDING, 1])):
        with pytest.raises(ModelRefused, match=r"domain\.safetensors .*get the model again"):
            Domain.load(tmp_path / DOMAIN_FILE, SEAL, width, embedding_widths)
