# The two commands that matter: `make demo` and `make test`. Each sets up all that it needs inside this checkout.
SHELL := /bin/bash
CORES := $(shell nproc)
# Servers are waited for now and then: one more than there are cores.
WORKERS := $(shell expr $(CORES) + 1)
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
COLLECTIONS := $(CURDIR)/.work/collections
HERE := $(COLLECTIONS)/ansible_collections/holdfast/postgres
SANITY := $(CURDIR)/.work/sanity/ansible_collections/holdfast/postgres
PYTHON_CODE := plugins $(wildcard tests/lab tests/generators tests/demo tests/bench tests/tools)
# ansible-test tries every python3.N that it finds: the shims of version managers are none.
SYSTEM_PATH := $(CURDIR)/$(VENV)/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export ANSIBLE_COLLECTIONS_PATH := $(COLLECTIONS)
export MYPYPATH := $(COLLECTIONS):$(CURDIR)/tests
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help setup demo rehearse demo-kubernetes faults test lint sanity unit integration matrix test-extended test-stores test-kubernetes image docs molecule release docs-test wal-g bench clean
help:
	@echo "make demo   a backup, a disaster and a restore on a throwaway server, with proof"
	@echo "make rehearse  every runbook, rehearsed on a throwaway server, and a table of times against objectives"
	@echo "make demo-kubernetes  the same in a real Kubernetes: a CronJob, WAL received and shipped, a dropped table brought back beside"
	@echo "make test   lint, ansible-test sanity, unit and integration tests"
	@echo "make test-extended  what takes long: every bad day of stores, each engine in depth, standbys"
	@echo "make test-stores  the same through Ceph's S3, where it is installed"
	@echo "make test-kubernetes  on a real Kubernetes: HOLDFAST_KUBECONFIG's, or one that is built (once, 15 minutes) and started here"
	@echo "make image  the image that Jobs in Kubernetes and AWX run, by podman, docker or buildah"
	@echo "make faults SECONDS=600  signals and broken answers by chance, on backups, then on whole servers, as matrices in numbers"
	@echo "make docs-test  what the pages tell a new user is typed on fresh hosts with systemd"
	@echo "make docs  the documentation as a site, in .work/docs/html"
	@echo "make release  the archive of a release (VERSION=1.0.0-beta), with its changelog, looked through, in .work/release"
	@echo "make molecule  the scenarios of extensions/molecule, as users of Molecule run them"
	@echo "make bench  ours and the guides' pipelines, side by side"

setup: $(STAMP) $(HERE) $(COLLECTIONS)/ansible_collections/awx
	@tests/tools/check_programs.sh

$(STAMP): tests/requirements/test.txt
	@python=$$(tests/tools/find_python.sh) && { [ -x $(PY) ] || "$$python" -m venv $(VENV); }
	@echo "Installing the controller and the tests' packages into $(VENV) …"
	@$(PY) -m pip install --quiet --disable-pip-version-check --requirement tests/requirements/test.txt
	@touch $@

$(HERE):
	@mkdir -p $(dir $@) && ln -sfn $(CURDIR) $@

# What this collection depends on (galaxy.yml), and what extensions/awx is held against.
$(COLLECTIONS)/ansible_collections/awx: $(STAMP)
	@tests/tools/install_collections.sh

demo: setup
	@$(PY) tests/demo/demo.py

rehearse: setup
	@$(PY) tests/demo/rehearse.py

# In the lab's cluster that HOLDFAST_KUBECONFIG names, or in one that is built (once) and started for it.
demo-kubernetes: setup
	@[ -n "$$HOLDFAST_KUBECONFIG" ] || (cd tests && ../$(PY) -m lab.kubernetes prepare image)
	@$(PY) tests/demo/kubernetes_demo.py

# BENCH="--only stores --small", for instance: tests/bench/bench.py --help says what there is.
bench: setup .work/venv-awscli/.installed
	@$(PY) tests/bench/bench.py $(BENCH)

.work/venv-awscli/.installed: tests/requirements/awscli.txt $(STAMP)
	@python=$$(tests/tools/find_python.sh) && "$$python" -m venv .work/venv-awscli
	@.work/venv-awscli/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/requirements/awscli.txt
	@touch $@

# What needs no server goes first, and side by side: a program of one thread each.
test: setup
	@echo "1 of 2: lint, ansible-test sanity and unit tests (two or three minutes, told when each has ended)"
	@$(MAKE) --no-print-directory --jobs=$(CORES) --output-sync=target sanity lint unit
	@echo "2 of 2: integration tests, on real servers (about ten minutes)"
	@$(MAKE) --no-print-directory integration

lint: setup
	ruff check .
	ruff format --check .
	mypy $(PYTHON_CODE)
	vermin --quiet --no-tips --target=3.9- --violations --eval-annotations plugins/modules plugins/module_utils
	yamllint --strict .
	ansible-lint --offline --profile production
	@$(MAKE) --no-print-directory .work/venv-galaxy/.installed || echo "skipped: what Galaxy asks cannot be installed here"
	$(PY) tests/tools/galaxy_check.py

# galaxy-importer, antsibull-docs and their like want versions of their own.
.work/venv-galaxy/.installed: tests/requirements/galaxy.txt $(STAMP)
	@python=$$(tests/tools/find_python.sh) && "$$python" -m venv .work/venv-galaxy
	@.work/venv-galaxy/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/requirements/galaxy.txt
	@touch $@

# From a copy with a git of its own, as ansible-test wants its place, and skips what the git around it ignores.
sanity: setup
	@rm -rf $(SANITY) && mkdir -p $(SANITY)
	@git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --target-directory=$(SANITY) --
	@git -C $(SANITY) init --quiet && git -C $(SANITY) add --all
	@$(PY) tests/tools/ansible_test_bootstrap.py
	cd $(SANITY) && env -u ANSIBLE_COLLECTIONS_PATH PATH="$(SYSTEM_PATH)" ansible-test sanity --requirements --color no

unit: setup
	$(PY) -m pytest -q tests/unit

integration: setup matrix
	@tests/tools/install_stores.sh
	@tests/tools/install_barman.sh
	@tests/tools/install_pgbackrest.sh
	@tests/tools/install_hosts.sh bookworm
	$(PY) -m pytest -q -n $(WORKERS) --dist worksteal --durations=20 --durations-min=5 -m "not extended" tests/integration

# Every command of the README and the guide, on fresh Debians, and what a fresh host does to each role. The images are made once (three
# minutes each) and kept outside the checkout: tests/tools/install_hosts.sh.
docs-test: setup
	@tests/tools/install_hosts.sh bookworm
	@tests/tools/install_hosts.sh trixie
	$(PY) -m pytest -q -rs -m "" tests/integration/test_docs_run.py tests/integration/test_fresh_host.py tests/integration/test_fresh_standby.py

# Every bad day of stores, each engine in depth, standbys, twenty random moments: half an hour.
test-extended: setup
	@tests/tools/install_stores.sh
	@tests/tools/install_barman.sh
	@tests/tools/install_patroni.sh
	@tests/tools/install_old_boto3.sh
	@tests/tools/install_pgbackrest.sh
	@tests/tools/install_postgresql_14.sh
	@$(MAKE) --no-print-directory .work/venv-eda/.installed || echo "skipped: ansible-rulebook cannot be installed here"
	$(PY) -m pytest -q -rs -m extended tests/integration
	@[ -n "$$HOLDFAST_KUBECONFIG" ] || (cd tests && ../$(PY) -m lab.kubernetes prepare)
	$(PY) -m pytest -q -rs -m extended tests/kubernetes

# Ceph's gateway is a real S3, and large: its tests are apart, and say why when they skip.
faults: setup ## faults by chance for SECONDS (600) each, on backups and on whole servers, as matrices in numbers
	cd tests && HOLDFAST_FAULTS=$(or $(SECONDS),600) PYTHONPATH=.:../.work/collections ../.venv/bin/python -m generators.faults
	cd tests && HOLDFAST_FAULTS=$(or $(SECONDS),600) PYTHONPATH=.:../.work/collections ../.venv/bin/python -m generators.server_faults

test-stores: setup
	$(PY) -m pytest -q -rs tests/stores

# A cluster is built once, outside the checkout (~/.cache/holdfast-k8s), and started for each run: tests/lab/kubernetes. Where neither it nor
# another can be had, each test says so and skips. K8S="-k snapshot", for instance; K8S='-m "" -n 0' with what takes long. Two files beside each
# other: most of a test is waiting, for pods and for what runs in them.
test-kubernetes: setup
	@[ -n "$$HOLDFAST_KUBECONFIG" ] || (cd tests && ../$(PY) -m lab.kubernetes prepare image $(and $(SECONDS),--seconds $(SECONDS)))
	$(PY) -m pytest -q -rs -n 2 --dist loadfile --durations=15 --durations-min=5 -m "not extended" tests/kubernetes $(K8S)

# The scenarios of extensions/molecule, on a server of their own on this machine.
molecule: setup .work/venv-molecule/.installed
	@PATH="$(CURDIR)/.work/venv-molecule/bin:$$PATH" ANSIBLE_HOME=$(CURDIR)/.work/molecule XDG_CACHE_HOME=$(CURDIR)/.work/molecule \
		molecule test --all $(MOLECULE)

.work/venv-molecule/.installed: tests/requirements/molecule.txt $(STAMP)
	@python=$$(tests/tools/find_python.sh) && "$$python" -m venv .work/venv-molecule
	@.work/venv-molecule/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/requirements/molecule.txt
	@touch $@

.work/venv-eda/.installed: tests/requirements/eda.txt $(STAMP)
	@python=$$(tests/tools/find_python.sh) && "$$python" -m venv .work/venv-eda
	@.work/venv-eda/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/requirements/eda.txt
	@touch $@

# Pages, roles and a reference of modules and plugins, as a site in .work/docs/html. A warning is a failure.
docs: setup .work/venv-docs/.installed
	@PYTHONPATH=tests $(PY) tests/tools/build_docs.py .work/docs

.work/venv-docs/.installed: tests/requirements/docs.txt $(STAMP)
	@python=$$(tests/tools/find_python.sh) && "$$python" -m venv .work/venv-docs
	@.work/venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/requirements/docs.txt
	@touch $@

# VERSION=1.0.0, for instance. The checkout stays as it is, unless RELEASE=--write: then its version and changelog become those of the release.
release: setup .work/venv-galaxy/.installed
	@PYTHONPATH=tests $(PY) tests/tools/release.py $(or $(VERSION),1.0.0-beta) .work/release $(RELEASE)

image: setup
	@tests/tools/build_image.sh

# Not a part of `make test`: it takes minutes, and the tests that need it skip without.
wal-g:
	@tests/tools/install_wal_g.sh

# The other controllers that are supported, each in an environment of its own.
matrix: .work/venv-2.17/.installed .work/venv-2.18/.installed
.work/venv-%/.installed: $(STAMP)
	@python=$$(tests/tools/find_python.sh) && "$$python" -m venv .work/venv-$*
	@.work/venv-$*/bin/python -m pip install --quiet --disable-pip-version-check "ansible-core==$*.*" "psycopg2-binary>=2.9.9,<3"
	@touch $@

clean:
	rm -rf $(VENV) .work .cache
