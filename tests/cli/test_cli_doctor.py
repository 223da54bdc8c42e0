"""`caltomorph doctor`: what is here, what is missing, and the command that fixes it."""

from __future__ import annotations

import shutil

from napari_caltomorph.cli import doctor


def test_it_lists_what_is_installed_and_how_to_fix_the_rest(run, home, tiny_model, dinobloom_model):
    (home / "models").mkdir()
    shutil.copytree(tiny_model, home / "models" / "mine")
    (home / "models" / "broken").mkdir()
    (home / "models" / "broken" / "model.json").write_text("{}")
    code, out, err = run("doctor")
    assert (code, err) == (0, "")
    text = " ".join(out.split())
    for expected in ("torch ", "timm ", "napari ", "cpu", "--precision auto", "OpenGL", "GB free", "demo", "mine"):
        assert expected in text
    assert str(home / "weights") in out
    assert "  dinobloom-b: caltomorph weights download dinobloom-b\n" in out
    assert "  broken: get it again" in out


def test_a_broken_package_is_found_and_is_an_error(run_process, tmp_path):
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "__init__.py").write_text("raise OSError('libgone.so: cannot open shared object')\n")
    code, out, err = run_process("doctor", PYTHONPATH=str(tmp_path))
    assert code == 1
    assert "libgone.so" in out
    assert "pip install --force-reinstall 'timm" in out
    assert "Traceback" not in out + err
    assert err.startswith("caltomorph: ")
    assert err.endswith(": timm\n")


def test_opengl_that_crashes_is_a_finding(monkeypatch):
    from napari_caltomorph.cli import window

    monkeypatch.setattr(window, "_CHECK", "import os; os.abort()")
    monkeypatch.setattr(window, "has_display", lambda: True)
    (opengl,) = (f for f in doctor.check_window() if f.what == "OpenGL")
    assert opengl.found.startswith("does not work: ")
    assert opengl.fix is not None


def test_weights_that_an_installed_model_needs_are_missing_not_optional(home, dinobloom_model):
    shutil.copytree(dinobloom_model, home / "models" / "mine")
    findings = {f.what: f for f in doctor.check_weights()}
    assert findings["dinobloom-b"].fix == "caltomorph weights download dinobloom-b"
    assert findings["dinobloom-l"].is_optional
    assert findings["demo-vit"].fix is None
