"""The house rules of docs/architecture.md, held by reading every import in the tree."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("agent", "provisioning", "hub")
IO_MODULES = {
    "asyncio", "socket", "selectors", "sqlite3", "subprocess", "threading", "os", "io", "pathlib", "http",
    "urllib", "tempfile", "shutil", "serial", "bleak", "sounddevice", "aiomqtt",
}  # fmt: skip
ONE_IMPORTER = {
    "av": {"agent/drivers/camera.py"},
    "bleak": {"agent/drivers/ble.py"},
    "bleak_retry_connector": {"agent/drivers/ble.py"},
    "dbus_fast": {"agent/drivers/pairing.py"},
    "serial": {"agent/drivers/serial_port.py"},
    "sounddevice": {"agent/drivers/audio.py"},
    "aiomqtt": {"agent/transport/link.py"},
    "gpiozero": {"agent/display/leds.py"},
}


def sources() -> dict[str, ast.Module]:
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text())
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }


def imports(tree: ast.AST) -> set[str]:
    """Every module a file imports, at its top or inside a function, but not for type checking alone."""
    found: set[str] = set()
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(id(inner) for part in node.body for inner in ast.walk(part))
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def tops(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


SOURCES = sources()
IMPORTS = {name: imports(tree) for name, tree in SOURCES.items()}


def files_in(*places: str) -> list[str]:
    return [name for name in SOURCES if any(name == p or name.startswith(p.rstrip("/") + "/") for p in places)]


def test_the_reader_of_imports_sees_them():
    tree = ast.parse("import a.b\nfrom c import d\nif TYPE_CHECKING:\n    import e\ndef f():\n    import g\n")
    assert imports(tree) == {"a.b", "c", "c.d", "g"}


@pytest.mark.parametrize("name", files_in("agent/drivers"))
def test_drivers_never_import_dsp(name):
    assert not {m for m in IMPORTS[name] if m.startswith("agent.dsp")}


@pytest.mark.parametrize("name", files_in("agent/dsp"))
def test_dsp_is_pure(name):
    # Weights and tables are package data, read through importlib.resources.
    assert not tops(IMPORTS[name]) & (IO_MODULES | {"logging"})


PURE = [
    "agent/model.py", "agent/standing.py", "agent/visit.py", "agent/listening.py", "agent/custody.py",
    "agent/holding.py", "agent/lending/backlog.py", "agent/lending/inventory.py", "agent/lending/receipt.py",
    "agent/badges.py",
    "agent/transport/wire.py",
    "agent/transport/waveform.py", "agent/transport/seal.py", "agent/transport/topics.py",
    "agent/transport/delivery.py", "agent/transport/bits.py", "agent/transport/lpc.py", "agent/transport/entropy.py",
    "agent/transport/cbor.py", "agent/transport/shapes.py", "agent/transport/composed.py",
    "agent/transport/sequence.py", "agent/transport/messages.py", "agent/transport/ranges.py",
    "agent/transport/records.py",
]  # fmt: skip


@pytest.mark.parametrize("name", [n for n in PURE if n in SOURCES])
def test_protocol_and_state_machines_import_no_io(name):
    assert not tops(IMPORTS[name]) & IO_MODULES


ADAPTERS = {
    "base.py", "ble.py", "ble_driver.py", "serial_port.py", "audio.py", "camera.py", "catalogue.py", "opening.py",
    "__init__.py",
}  # fmt: skip
DECODERS = [n for n in files_in("agent/drivers") if "/simulated/" not in n and n.rsplit("/", 1)[-1] not in ADAPTERS]


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_import_no_radio_no_port_no_loop(name):
    assert not tops(IMPORTS[name]) & {"bleak", "serial", "asyncio", "sounddevice"}


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_name_their_source_first(name):
    assert (ROOT / name).read_text().startswith("# Ref:")


@pytest.mark.parametrize("library", sorted(ONE_IMPORTER))
def test_each_outside_library_has_one_importer(library):
    assert {n for n in SOURCES if library in tops(IMPORTS[n])} <= ONE_IMPORTER[library]


def test_only_the_pages_import_starlette():
    users = {n for n in SOURCES if tops(IMPORTS[n]) & {"starlette", "uvicorn"}}
    assert users <= {"agent/display/page.py", "hub/page.py", "hub/files_page.py", "hub/camera_page.py"} | set(
        files_in("agent/display", "hub/pages")
    )


def test_only_the_wiring_imports_every_layer():
    layers = ("agent.drivers", "agent.dsp", "agent.transport", "agent.display")
    wide = {
        n
        for n in files_in("agent")
        if all(any(m == layer or m.startswith(layer + ".") for m in IMPORTS[n]) for layer in layers)
    }
    assert wide <= {"agent/app.py"}


def test_the_agent_knows_nothing_of_the_hub():
    assert not {n for n in files_in("agent") if "hub" in tops(IMPORTS[n]) and not n.startswith("agent/demo/")}


def module_of(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def test_no_import_circle():
    modules = {module_of(n): n for n in SOURCES}
    graph = {
        module: sorted({m for m in IMPORTS[name] if m in modules and m != module}) for module, name in modules.items()
    }
    state: dict[str, int] = {}

    def visit(module: str, path: tuple[str, ...]) -> None:
        if state.get(module) == 2:
            return
        assert state.get(module) != 1, " -> ".join((*path, module))
        state[module] = 1
        for other in graph[module]:
            visit(other, (*path, module))
        state[module] = 2

    for module in graph:
        visit(module, ())


def test_top_level_is_the_planned_one():
    tracked = {p.name for p in ROOT.iterdir() if p.is_dir() and p.name[0] != "." and p.name not in {"build", "dist"}}
    planned = {"agent", "provisioning", "hub", "systemd", "tests", "benchmarks", "docs", "training"}
    assert {p for p in tracked if (ROOT / p).is_dir() and any((ROOT / p).rglob("*.py"))} <= planned


def test_the_way_to_ready_is_free_of_scipy_and_of_network_libraries():
    """READY = outbox open and tasks started: what costs a second to import comes after it."""
    script = "import sys, agent.app; print([m for m in ('scipy', 'bleak', 'aiomqtt', 'starlette') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_no_two_test_files_share_a_name():
    """pytest imports them by their bare names."""
    names = Counter(path.name for path in Path(__file__).parent.rglob("*.py") if path.name != "__init__.py")
    assert [name for name, n in names.items() if n > 1] == []
