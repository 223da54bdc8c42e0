# Everything here sets itself up: system libraries, a virtual environment, the package. See README.md.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test lint docs notebooks package release screenshots demo-model blood-encoder blood-probe clean

demo: $(VENV)/.ready
	$(BIN)/caltomorph demo --out demo-output

test: $(VENV)/.ready-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto --dist=loadfile

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_import_circles.py
	$(BIN)/npe2 validate --imports napari_caltomorph

# Into site/; open site/index.html. Material's notice about the future of MkDocs is not about this site.
docs: $(VENV)/.ready-docs
	NO_MKDOCS_2_WARNING=1 OMP_NUM_THREADS=1 $(BIN)/mkdocs build

# sdist and wheel into dist/, checked, and the wheel tried in a clean environment
package: $(VENV)/.ready-dev
	$(BIN)/python scripts/check_package.py

# `make release VERSION=0.2.0`, see CONTRIBUTING.md
release: $(VENV)/.ready-dev
	$(BIN)/python scripts/release.py $(VERSION)

# Runs the notebooks of the docs and keeps their outputs, but no warnings, which name folders of this machine
notebooks: $(VENV)/.ready-dev
	OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore $(BIN)/jupyter execute --inplace docs/notebooks/*.ipynb

screenshots: $(VENV)/.ready-dev
	xvfb-run -a -s '-screen 0 1280x720x24' $(BIN)/python scripts/make_screenshots.py docs/images
	xvfb-run -a -s '-screen 0 1280x720x24' $(BIN)/python scripts/make_recording.py docs/images/recording.webp

demo-model: $(VENV)/.ready-dev
	$(BIN)/python scripts/train_demo_model.py

blood-encoder: $(VENV)/.ready-dev
	OMP_NUM_THREADS=2 $(BIN)/python scripts/train_blood_encoder.py $(CELLS)
	$(MAKE) blood-probe

# The probe takes the features of the encoder as it is now, so it is trained again with it.
blood-probe: $(VENV)/.ready-dev
	OMP_NUM_THREADS=2 $(BIN)/python -m scripts.train_blood_probe $(CELLS)

$(VENV)/bin/python:
	sh scripts/install_system_libraries.sh
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.ready: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[all]'
	touch $@

$(VENV)/.ready-docs: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

$(VENV)/.ready-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.ready $(VENV)/.ready-docs

clean:
	rm -rf $(VENV) demo-output dist site
