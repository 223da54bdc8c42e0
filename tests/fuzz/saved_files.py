"""What this package saves (a model, a cohort, a prediction, an evaluation, a probe, options), tiny, and then changed.

A model is sealed: most changes would only show that the seal is broken. So some changed models get the seal and the
checksums that fit them, as somebody could who made them on purpose.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.numpy import load, save
from tests.diagnosis.factories import RECORD
from tests.differential import factories as cells
from tests.evaluation.factories import TAXONOMY, evaluation_of, simulated
from tests.fuzz.mutations import Seed, mutated, mutated_json, places

from napari_caltomorph.cohort import Cohort, with_types
from napari_caltomorph.diagnosis import Ensemble, ModelDescription, Prevalence, TransformerOptions
from napari_caltomorph.diagnosis.calibration import Calibration
from napari_caltomorph.diagnosis.domain_fit import fit_domain
from napari_caltomorph.diagnosis.model_file import EncoderNeed
from napari_caltomorph.diagnosis.model_folder import TrainingPatients, build_member
from napari_caltomorph.differential import train_probe
from napari_caltomorph.encoding import Features

WIDTH, EMBEDDING, PATIENTS = 4, 8, 24


def _saved(save_to: Any) -> dict[str, bytes]:
    """Return the files, by their names, that something saves into a folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_to(folder)
        found = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@cache
def _ensemble() -> Ensemble:
    rng = np.random.default_rng(0)
    slugs = TAXONOMY.slugs
    description = ModelDescription(
        name="tiny",
        description="Random weights.",
        synthetic=True,
        created="2026-01-01T00:00:00+00:00",
        encoder=EncoderNeed(name="demo-vit", weights_sha256="a" * 64, preprocessing="none", width=WIDTH),
        field_of_view_um=25.0,
        taxonomy=TAXONOMY,
        hemoglobin={"error": {"level": 0.9, "low": -3.0, "high": 3.5, "patients": 40}},
        aggregator=TransformerOptions(depth=1, heads=2, width=EMBEDDING, mlp_width=8),
        classifier_width=4,
        threshold={"value": 0.5, "rule": "the paper's"},
        calibration=Calibration(
            temperature=1.2,
            quantiles=dict.fromkeys(slugs, 0.9) | {slugs[0]: None},
            patients=dict.fromkeys(slugs, 30),
            source="Clinic A",
        ),
        training=RECORD,
        members=({"file": f"fold_{k}.safetensors", "sha256": "0" * 64} for k in range(2)),
        library_versions={"torch": "2"},
    )
    members = (build_member(description).eval(), build_member(description).eval())
    bags = [rng.normal(size=(5, WIDTH)).astype(np.float32) for _ in range(PATIENTS)]
    embeddings = rng.normal(size=(2, PATIENTS, EMBEDDING)).astype(np.float32)
    domain = fit_domain(bags, embeddings, np.arange(PATIENTS) % 2)
    import torch

    table = pd.DataFrame(
        {"patient_id": ["p1", "p2"], "coarse": list(slugs[:2]), "fold": [0, 1], "fingerprint": ["a", "b"]}
        | {f"out_of_fold_p_{slug}": [0.25, 0.25] for slug in slugs}
    )
    return Ensemble(description, members, TrainingPatients(table, torch.zeros(2, 2, EMBEDDING)), domain=domain)


@cache
def model() -> dict[str, bytes]:
    return _saved(lambda folder: _ensemble().save(folder / "m"))


@cache
def prediction() -> bytes:
    values = np.random.default_rng(1).normal(size=(3, WIDTH)).astype(np.float32)
    made = _ensemble().predict(Features("p1", values, ("a.tif", "b.tif", "c.tif")))
    made = made.model_copy(update={"prevalence": Prevalence(trained=0.2, stated=0.1)})
    out = {"cell": "c.tif", "reason": "left out by hand", "note": "", "by": "user"}
    fewer = made.model_copy(
        update={
            "cells": made.cells[:2],
            "labels": made.labels[:2],
            "attention": made.attention[:2],
            "alone": made.alone[:2],
            "domain": None,
            "left_out": (out,),
            "original": made,
        }
    )
    return fewer.model_dump_json().encode()


@cache
def cohort() -> bytes:
    table = with_types(
        pd.DataFrame(
            {
                "patient_id": ["p1", "p2", "p3"],
                "path": ["/p1", "/p2", None],
                "coarse": ["acute", "mds", "healthy"],
                "raw_label": ["AML", "MDS", "healthy"],
                "hemoglobin_g_dl": [9.5, None, 14],
                "fold": [0, 1, None],
                "n_cells": [12, 3, 4],
                "site": ["a", "b", "b"],
            }
        )
    )
    one = Cohort("made", Path("/made"), "table", TAXONOMY, table, notes=("A note.",))
    return _saved(lambda folder: one.save(folder / "cohort.json"))["cohort.json"]


@cache
def evaluation() -> dict[str, bytes]:
    truth, probabilities = simulated((2, 2, 2, 2))
    made = evaluation_of(
        truth, probabilities, measured=[9.0, 10.0, None, 11.0, 12.0, 13.0, 14.0, 15.0], hemoglobin=[10.0] * 8
    )
    return _saved(made.save)


@cache
def probe() -> bytes:
    smears = [cells.features((4, 4, 4, 4), patient=f"p{k}", seed=k) for k in range(2)]
    made = train_probe(smears, cells.labelled(*smears, counts=(4, 4, 4, 4)))
    return _saved(lambda folder: made.save(folder / "probe.safetensors"))["probe.safetensors"]


@st.composite
def models(draw: st.DrawFn) -> dict[str, bytes]:
    """The files of a model folder, one of them changed."""
    files = {name.removeprefix("m/"): content for name, content in model().items()}
    kind = draw(
        st.sampled_from(("json", "json", "json", "resealed", "resealed", "domain", "member", "bytes", "missing"))
    )
    if kind == "json":
        return files | {"model.json": draw(mutated_json(files["model.json"]))}
    name = draw(st.sampled_from(sorted(files)))
    if kind == "missing":
        del files[name]
        return files
    if kind == "bytes":
        return files | {name: draw(mutated(Seed(name, files[name])))}
    if kind == "resealed":
        return _sealed(files, draw(mutated_json(files["model.json"])))
    name = "domain.safetensors" if kind == "domain" else "fold_0.safetensors"
    return _sealed(files | {name: draw(_tensors(files[name]))}, files["model.json"])


def _sealed(files: dict[str, bytes], text: bytes) -> dict[str, bytes]:
    """Return a model whose seal and checksums are those of a changed description and changed weights."""
    try:
        description = ModelDescription.model_validate_json(text)
    except (ValidationError, ValueError):
        return files | {"model.json": text}
    content = json.loads(text)
    named = [(one, content["members"][k]) for k, one in enumerate(description.members)]
    if description.domain is not None:
        named.append((description.domain, content["domain"]))
    for one, entry in named:
        name = getattr(one, "file", "domain.safetensors")
        try:
            tensors = load(files[name])
        except Exception:  # noqa: BLE001 (changed so that nothing fits any more: as it is)
            continue
        files = files | {name: save(tensors, metadata={"seal": description.seal})}
        entry["sha256"] = hashlib.sha256(files[name]).hexdigest()
    return files | {"model.json": json.dumps(content).encode()}


_FILLS = (0.0, -1.0, 1.0, 1e30, 1e-30, np.nan, np.inf, -np.inf)
_DTYPES = (np.float16, np.float64, np.int8, np.uint64, np.bool_)


@st.composite
def _tensors(draw: st.DrawFn, content: bytes) -> bytes:
    """Safetensors with some of its tensors of another type, shape or content."""
    tensors = dict(load(content))
    for place in draw(st.lists(places, min_size=1, max_size=2)):
        name = sorted(tensors)[place % len(tensors)]
        values = tensors[name]
        kind = draw(st.sampled_from(("fill", "one", "dtype", "shape", "drop", "rename", "swap")))
        if kind == "fill":
            tensors[name] = np.full_like(values, draw(st.sampled_from(_FILLS)))
        elif kind == "one" and values.size:
            changed = values.copy()
            changed.flat[place % values.size] = draw(st.sampled_from(_FILLS))
            tensors[name] = changed
        elif kind == "dtype":
            with np.errstate(all="ignore"):
                tensors[name] = np.nan_to_num(np.abs(values)).astype(draw(st.sampled_from(_DTYPES)))
        elif kind == "shape":
            shape = draw(
                st.sampled_from(((), (0,), (1,), (values.size,), (values.size, 1), values.shape[::-1], (0, 3)))
            )
            tensors[name] = np.ascontiguousarray(np.resize(values, shape))
        elif kind == "drop":
            del tensors[name]
        elif kind == "rename":
            tensors["x"] = tensors.pop(name)
        else:
            tensors[name] = tensors[sorted(tensors)[0]]
        if not tensors:
            break
    return bytes(save({name: np.asarray(values) for name, values in tensors.items()}, metadata={"seal": "none"}))


@st.composite
def evaluations(draw: st.DrawFn) -> dict[str, bytes]:
    """The files of an evaluation, one of them changed."""
    files = evaluation()
    if draw(st.integers(0, 4)):
        return files | {"evaluation.json": draw(mutated_json(files["evaluation.json"]))}
    name = draw(st.sampled_from(sorted(files)))
    return files | {name: draw(mutated(Seed(name, files[name])))}


@st.composite
def probes(draw: st.DrawFn) -> bytes:
    """A probe whose description, weights or bytes change."""
    content = probe()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    kind = draw(st.sampled_from(("description", "description", "header", "bytes")))
    if kind == "bytes":
        return draw(mutated(Seed("probe", content, ((0, 8), (0, 4)))))
    if kind == "header":
        changed = draw(mutated_json(json.dumps(header).encode()))
    else:
        description = draw(mutated_json(header["__metadata__"]["probe"].encode()))
        header["__metadata__"]["probe"] = description.decode(errors="replace")
        changed = json.dumps(header).encode()
    return len(changed).to_bytes(8, "little") + changed + content[8 + size :]


LABEL_MAP = json.dumps(
    {
        "taxonomy": TAXONOMY.model_dump(mode="json"),
        "labels": {"aml": ["AML NOS", "M3"], "acute": ["acute leukemia"]},
        "double": {"mixed": ["acute", "mds"]},
        "rare": ["mastocytosis"],
        "follow_up": ["remission"],
        "unclear": ["suspected"],
    }
).encode()
JOURNAL = json.dumps(
    {
        "runs": [
            {
                "cohort": "made",
                "source": "/made",
                "made_with": dict.fromkeys(("encoder", "weights_sha256", "preprocessing", "precision", "device"), "x")
                | {"library_versions": {}},
                "workers": 1,
                "scheduler": None,
                "started": "2026-01-01T00:00:00+00:00",
            }
        ],
        "patients": {"p1": {"patient_id": "p1", "outcome": "encoded", "file": "p1.h5", "path": "/p1", "cells": 3}},
    }
).encode()
CLASSES_MAP = json.dumps({"aml": "aml", "mds": "none", "cll": "none: CLL"}).encode()

_YAML = (
    *("recipe: paper\n", "depth: 4\nhemoglobin: true\n", "learning-rate: 1e-4\nepochs: 3\n", "aggregator: abmil\n"),
    *("recipe: [paper]\n", "depth: {a: 1}\n", "depth: 1e999\n", "depth: .nan\n", "seed: 0x10\n", "depth: 1:30\n"),
    *("? [a]\n", "- a\n- b\n", "x", "&a [*a]\n", "a: &a [x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n", "<<: {depth: 3}\n"),
    *("<<: 1\n", "1: 2\n", "!!python/object/apply:os.system [touch escaped]\n", "!!binary x\n", "!!timestamp x\n"),
    *("!x y\n", "depth: !!int x\n", "depth: 2026-13-45\n", "depth: 0o9\n", f"depth: {'9' * 5000}\n", "--- \n--- \n"),
    *("%YAML 9\n---\n", "\t", "depth: '\n", "[" * 3000, "{a: " * 3000, "- " * 3000, "? " * 3000, "\0", "*a\n"),
    *("\ufeffdepth: 3\n", "depth: \x07\n", "|\n a\n"),
)
_TOML = ("depth = 4\n", "recipe = 'paper'\n", "[a.b]\n", "depth = [", f"a{'.a' * 3000} = 1\n", f"x = {'[' * 3000}")


@st.composite
def options(draw: st.DrawFn) -> tuple[str, bytes]:
    """The name and the text of a file of training options."""
    suffix = draw(st.sampled_from((".yaml", ".yaml", ".toml")))
    parts = draw(st.lists(st.sampled_from(_YAML if suffix == ".yaml" else _TOML), max_size=3))
    content = "".join(parts).encode()
    return f"options{suffix}", draw(mutated(Seed("options", content))) if draw(st.booleans()) else content
