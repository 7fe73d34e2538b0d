"""Every command on the pages for users is run by some test, as it is written; this says by which."""

from __future__ import annotations

import re

from tests.docs.pages import PAGES, ROOT, Command, commands, scripts

#: What can't be run where nothing but PyPI is, and why.
NOT_RUN = {
    "podman build -f deploy/image/Containerfile -t REGISTRY/vitne:VERSION .": "no container engine",
    "cmctl renew -n vitne NAME": "cert-manager's own program, in no package registry that is at hand",
    "curl -sSI https://status.vitne.example/2026/no-1": "a public address of the installation",
}
#: Who runs the others: a file, and what stands in it.
RUN_BY = {
    "kubectl": ("tests/docs/test_docs_kubernetes.py", "kubectl "),
    "deploy/k8s/": ("tests/docs/test_docs_kubernetes.py", "deploy/k8s/"),
    "head -c 32": ("tests/docs/test_docs_kubernetes.py", '"head "'),
    "openssl ": ("tests/docs/test_docs_kubernetes.py", '"openssl "'),
    "VITNE_STATE_DIR=out/": ("tests/docs/test_docs_kubernetes.py", '"VITNE_STATE_DIR=out/"'),
    "make setup": ("tests/unit/test_tools.py", "bootstrap.build_scripts()"),
    "make up": ("tests/docs/conftest.py", '"make", "up"'),
    "make demo TLS=1": ("tests/e2e/test_tls_stack.py", "tls=True"),
    "make asyncapi": ("tests/unit/test_asyncapi.py", "tools.asyncapi"),
    "make client": ("tests/e2e/test_clients.py", "tools.client"),
    "make monitoring": ("tests/deploy/test_deploy_monitoring.py", "tools.monitoring"),
    "pytest tests/deploy": ("Makefile", "-m pytest"),
    "python -m services.NAME migrate": ("vitne/dev/stack.py", '"migrate"'),
    "python -m services.NAME serve": ("vitne/dev/stack.py", '"serve"'),
    "python -m services.ledger close": ("tests/integration/test_ledger_shards.py", '"close"'),
    "python -m services.ledger rotate-key": ("tests/integration/test_ledger_shards.py", '"rotate-key"'),
    "python -m services.ledger reconcile": ("tests/operate/test_restore.py", "COMMANDS"),
    "python -m services.issuer reconcile": ("tests/operate/test_restore.py", "COMMANDS"),
    "python -m services.portal register": ("tests/integration/test_portal_privacy.py", 'world.command("register"'),
    "python -m services.portal reconcile": ("tests/operate/test_restore.py", "COMMANDS"),
    "python -m services.registry reconcile": ("tests/operate/test_restore.py", "COMMANDS"),
    'python -c "from vitne.canonical': ("tests/deploy/test_deploy_audit_of_log.py", "python -c "),
    "python -m services.auditor": ("tests/operate/test_restore.py", "COMMANDS"),
}


def test_each_is_run() -> None:
    unknown = [each for page in PAGES for each in commands(page) if not _is_run(each)]
    assert not unknown


def test_what_is_said_to_run_them_does() -> None:
    for file, text in RUN_BY.values():
        assert text in (ROOT / file).read_text(), file


def test_exceptions_are_on_a_page() -> None:
    written = {each.text for page in PAGES for each in commands(page)}
    assert written >= NOT_RUN.keys()


def _is_run(command: Command) -> bool:
    text = command.text
    if text in NOT_RUN or text.startswith(tuple(RUN_BY)):
        return True
    if target := re.fullmatch(r"make [a-z-]+", text):
        return f'"{target[0]}"' in (ROOT / ".ci" / "run").read_text()
    # Named in running text: a block that is run has it, or a command in a container.
    named = text.replace("NAME", "portal").removesuffix(" …")
    run = [each.text for page in PAGES for each in commands(page) if each.text.startswith("kubectl ")]
    return any(named in each for each in [*run, *(script for page in PAGES for script in scripts(page))])


def test_make_knows_every_variable_that_its_help_names() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    known = set(re.search(r"^VARIABLES := (.*)$", text, re.MULTILINE)[1].split())  # type: ignore[index]
    told = {name for line in re.findall(r"## (.*)$", text, re.MULTILINE) for name in re.findall(r"\b([A-Z]+)=", line)}
    assert told
    assert told <= known
