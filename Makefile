# Two commands do everything: `make reproduce` and `make test`. Each sets up .venv by itself.
PYTHON ?= python3.11
BIN := .venv/bin
INSTALLED := .venv/.installed
SOURCES := $(wildcard notebooks/*.ipynb s2p_lib/*.py s2p_lib/*/*.py s2p_lib/*.safetensors s2p_lib/templates/*)
# Two processes of one thread each take 0.6 of the time of one with two threads.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest
# JupyterLab asks the network for updates unless told not to.
OFFLINE := --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate

.PHONY: reproduce test test-ray lab bench readme screenshots lock

reproduce: outputs/demo/report.html
	@$(BIN)/s2p show outputs/demo

outputs/demo/report.html: $(INSTALLED) $(SOURCES)
	$(BIN)/s2p run --out outputs/demo --no-summary

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(PYTEST) tests -n 2 --dist loadfile --no-loadscope-reorder --junitxml=outputs/tests.xml

# The same extraction on a cluster, here one of this machine alone; Ray is an extra.
test-ray: $(INSTALLED)
	$(BIN)/pip install --quiet --constraint requirements.lock --no-build-isolation --editable '.[ray]'
	$(PYTEST) tests/test_ray_extraction.py tests/test_extract_command.py

lab: $(INSTALLED)
	$(BIN)/jupyter lab --notebook-dir notebooks $(OFFLINE)

bench: $(INSTALLED)
	$(BIN)/s2p bench

$(INSTALLED): requirements.lock pyproject.toml
	@echo "Setting up .venv: several GB, a few minutes"
	@start=$$(date +%s); set -e; \
	$(PYTHON) -m venv .venv; \
	$(BIN)/pip install --quiet --requirement requirements.lock; \
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .; \
	echo "install_s=$$(( $$(date +%s) - start ))" > $@

# For maintainers. The figures in the README, from the last runs of reproduce, test and bench:
readme: $(INSTALLED) screenshots
	$(BIN)/python -m s2p_lib.readme

# The pictures of failures.html in the README, from the last run of reproduce; needs chromium.
screenshots: $(INSTALLED)
	$(BIN)/python -c "from s2p_lib import readme; readme.take_screenshots()"

# requirements.lock anew from the names in pyproject.toml; the GPU libraries of torch exist for Linux only.
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet torch==2.14.1 torchvision==0.29.1
	.venv-lock/bin/pip install --quiet .[test]
	.venv-lock/bin/pip freeze --all --exclude pip --exclude s2p-repro \
	  | sed -E '/^(nvidia-[^m]|cuda-|triton)/s/$$/ ; sys_platform == "linux"/' > requirements.lock
	rm -rf .venv-lock
