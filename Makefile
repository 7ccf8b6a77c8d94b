# make repro: instala, trae los datos y ejecuta el pipeline. make test: las pruebas.
# En Windows no hace falta make: el README da las mismas órdenes a mano.

PYTHON := python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: repro test bench lint remote constraints

repro: .venv/installed
	test -e data/training.csv || dvc pull data
	dvc repro
	dvc metrics show

test: .venv/installed-dev
	python -m pytest

bench: .venv/installed-dev
	python benchmarks/bench.py

lint: .venv/installed-dev
	ruff format --check .
	ruff check .

# Rehace remote/ para que tenga los objetos que nombran data.dvc y dvc.lock, y ninguno más.
remote: .venv/installed
	rm -rf remote
	dvc push --remote embedded
	git add --force --all remote

# Rehace constraints.txt. Para subir todo a lo más nuevo, bórralo antes.
constraints:
	grep --no-filename "^[^-]" requirements.txt requirements-dev.txt | uv pip compile - --universal --python-version 3.11 --annotation-style line --custom-compile-command "make constraints" --quiet --output-file constraints.txt

.venv/installed: requirements.txt constraints.txt
	@$(PYTHON) -c "import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f'Error: hace falta Python 3.11, 3.12 o 3.13, y $(PYTHON) es {v[0]}.{v[1]}. Prueba: make PYTHON=python3.12 repro')"
	$(PYTHON) -m venv .venv
	python -m pip install --quiet --requirement requirements.txt
	touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	python -m pip install --quiet --requirement requirements-dev.txt
	touch $@
