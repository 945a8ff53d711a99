"""The documentation names only what exists.

Commands, options, make targets, environment variables, links, paths, modules, tables, columns, the
names in the recipes of contributing.md, and the messages that troubleshooting.md quotes.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from src.cli.commands import main
from src.components.database.tables import latest_view, tables
from src.components.drift_reporter.checks import CHECKS
from src.components.drift_reporter.indicators import (
    LEVEL,
    PROCESS,
    SENSOR_INDICATORS,
    TARGET_INDICATORS,
    sensor_indicator,
)
from src.components.drift_reporter.joint_test import PEER
from src.components.drift_reporter.performance import LOSSES
from src.components.inbox.states import State
from src.components.predictor.flags import Flag
from src.components.predictor.reasons import Reason
from src.settings import variables
from src.soft_sensor import (
    INBOX_COLUMNS,
    LEDGER_COLUMNS,
    OTHERS_COLUMNS,
    PREFIX,
    STUDY_COLUMNS,
    SoftSensor,
)

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTATION = ROOT / "Documentation"
CONTRIBUTING = DOCUMENTATION / "contributing.md"
DATABASE = DOCUMENTATION / "database.md"
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "deploy" / "README.md",
        *DOCUMENTATION.glob("*.md"),
        *(ROOT / "examples").rglob("README.md"),
        *(ROOT / "Presentation").glob("*.md"),
    ]
)

# Environment variables that other programs read, and which ones.
FOREIGN_VARIABLES = {
    "AWS_ACCESS_KEY_ID": "credentials that AWS's own libraries read",
    "AWS_SECRET_ACCESS_KEY": "credentials that AWS's own libraries read",
    "AWS_ENDPOINT_URL": "address of an S3 server, read by AWS's own libraries",
    "ALERT_URL": "read by deploy/run-and-notify",
    "AWS_DEFAULT_REGION": "read by the AWS CLI and deploy/rollback",
    "AWS_REGION": "read by the AWS CLI 2, and a variable of the repository on GitHub",
    "AWS_ROLE_ARN": "variable of the repository on GitHub, for the workflow",
    "AWS_BATCH_JOB_ARRAY_INDEX": "set by AWS Batch",
    "ECR_ACCOUNT_ID": "secret of the repository on GitHub, for the workflow",
    "ECR_REGION": "secret of the repository on GitHub, for the workflow",
    "HADOOP_CONF_DIR": "read by Spark",
    "JAVA_HOME": "read by Spark",
    "JOB_COMPLETION_INDEX": "set by Kubernetes",
    "SLURM_ARRAY_TASK_ID": "set by Slurm",
    "SPARK_HOME": "read by Spark",
    "SSL_CERT_FILE": "read by Python's TLS",
    "TF_PLUGIN_DIR": "read by the tests of deploy/",
}

# Options of other programs, and which ones.
FOREIGN_OPTIONS = {
    "--env-manager": "mlflow models",
    "--volumes": "docker compose",
    "--build-arg": "docker",
    "--key-id": "aws ssm put-parameter",
    "--no-deps": "docker compose",
    "--requeue": "sbatch",
}

# Names in SQL statements that are PostgreSQL's and not those of our tables.
POSTGRESQL = {
    "interval",
    *("pg_stat_activity", "pid", "usename", "state", "xact_start", "query"),
    *("pg_stat_user_tables", "n_live_tup", "n_dead_tup", "last_autovacuum", "relname"),
    *("pg_locks", "locktype", "query_start", "autovacuum_vacuum_scale_factor", "ctid"),
    *("bigint", "epoch", "pg_class", "oid", "relid", "relpartbound", "isleaf"),
}

# Beginnings of quoted messages that a library prints, and which one; or that are assembled.
FOREIGN_MESSAGES = {
    "OperationalError: ... ": "PostgreSQL, before our advice",
    "missing data for column": "PostgreSQL, to the writer of the rig",
    "cannot drop ...": "PostgreSQL, to its administrator",
    "OSError: [Errno 28] ": "the operating system",
    "DVC: Can't remove": "DVC, within our message",
    "DB_PORT Input should be ": "pydantic, after the name of the variable",
    "params.yaml, line ": "pydantic, after our line number",
    "ModuleNotFoundError: No module named '...'": "Python, before our advice",
    "... (SMTPNotSupportedError": "smtplib, within our message",
    "alarm: ...: noise": "a finding, assembled from parts",
}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, and its text."""

    language: str
    text: str


each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT))
)


@cache
def read(document: Path) -> str:
    """The text of a document."""
    return document.read_text(encoding="utf-8")


@cache
def blocks(document: Path) -> list[Block]:
    """The fenced blocks of a document."""
    found = re.findall(r"^[ ]*(?:\d+\. )?```(\w*)\n(.*?)^[ ]*```", read(document), re.M | re.S)
    return [Block(language, text) for language, text in found]


@cache
def prose(document: Path) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"^[ ]*(?:\d+\. )?```\w*\n.*?^[ ]*```", "", read(document), flags=re.M | re.S)


def code_spans(text: str) -> list[str]:
    """Inline code, on one line each."""
    found = re.findall(r"``(.+?)``(?!`)|(?<!`)`([^`]+)`(?!`)", text, re.S)
    return [" ".join((double or single).split()) for double, single in found]


def section(document: Path, heading: str) -> str:
    """The text of one section of the second level."""
    parts = re.split(r"^## ", read(document), flags=re.M)
    return next(part for part in parts if part.startswith(f"{heading}\n"))


def table_rows(text: str) -> list[list[str]]:
    """Cells of all tables of a text, without the rows that separate header and body."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines]
    return [row for row in rows if not set("".join(row)) <= set("-: ")]


def named(document: Path, faults: list[str]) -> list[str]:
    """Faults with the document they are in."""
    return [f"{document.relative_to(ROOT)}: {fault}" for fault in faults]


# Commands and options


@cache
def program() -> dict[str, Any]:
    """Commands by their words, `rejected replay` among them."""
    found: dict[str, Any] = {}
    for name, command in vars(typer.main.get_command(main))["commands"].items():
        found[name] = command
        for second, inner in getattr(command, "commands", {}).items():
            found[f"{name} {second}"] = inner
    return found


def option_names(command: Any) -> dict[str, Any]:
    """Parameters of a command by the names of its options."""
    return {
        name: parameter
        for parameter in command.params
        if parameter.param_type_name == "option"
        for name in (*parameter.opts, *parameter.secondary_opts)
    }


def fault_of_call(line: str) -> str | None:
    """What is wrong with the words after `impress`, None when nothing is."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # a span that ends within a quotation
        words = line.split()
    words = [word.rstrip(",") for word in words if not re.match(r"[\[(]?\.\.\.", word)]
    if not words or words[0] in ("COMMAND", "--help", "--version", "--install-completion"):
        return None
    name = " ".join(words[:2]) if " ".join(words[:2]) in program() else words[0]
    if name not in program():
        return f"no command `impress {name}`"
    command, rest = program()[name], words[len(name.split()) :]
    options = option_names(command)
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    values = 0
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            values += 1
        elif word not in (*options, "--help"):
            return f"`impress {name}` has no option {word}"
        elif word in options and not options[word].is_flag:
            rest = rest[1:]
    return f"`impress {line}` has too many arguments" if values > len(arguments) else None


def calls(document: Path) -> Iterator[str]:
    """What follows `impress` wherever it is called, in code spans and in blocks."""
    spans = code_spans(prose(document))
    before = r"(?:^|&& |\|\| |; |: |\||\.venv/bin/|time -v |env -u \w+ )"
    call = re.compile(rf"{before}impress ([^|&;\n]+)", re.M)
    whole_lines = (block.text.replace("\\\n", " ") for block in blocks(document))
    for text in (*spans, *whole_lines):
        for words in call.findall(text):
            # Without redirections, and without the schedule in the diagram of the README.
            yield re.split(r" \d?>|, (?:weekly|monthly)", words)[0].strip()
    # `predict --twins`: a command without the name of the program.
    for span in spans:
        name, dash, _ = span.partition(" --")
        if dash and name in program():
            yield span


@each_document
def test_every_command_exists_with_its_options(document: Path) -> None:
    faults = [fault for line in calls(document) if (fault := fault_of_call(line))]
    assert not named(document, faults)


@each_document
def test_every_option_that_stands_alone_exists(document: Path) -> None:
    known = {name for command in program().values() for name in option_names(command)}
    alone = [span.split()[0] for span in code_spans(prose(document)) if span.startswith("--")]
    assert not named(document, [name for name in alone if name not in known | set(FOREIGN_OPTIONS)])


@pytest.mark.parametrize("name", ["README.md", "Documentation/usage.md"])
def test_the_table_of_commands_has_them_all(name: str) -> None:
    rows = table_rows(section(ROOT / name, "Commands"))
    shown = [words for row in rows for words in code_spans(row[0])]
    missing = [each for each in program() if not any(f"impress {each}" in call for call in shown)]
    assert missing == []


def test_the_table_of_options_is_that_of_the_program() -> None:
    usage = DOCUMENTATION / "usage.md"
    shown: dict[str, set[str]] = {}
    name = ""
    for command, options, *_ in table_rows(section(usage, "Commands")):
        spans = code_spans(options)
        if not spans or not all(span.startswith("--") for span in spans):
            continue
        name = code_spans(command)[0] if command else name
        shown.setdefault(name, set()).update(span.split()[0] for span in spans)
    # The negative form of a switch need not be shown.
    for name, command in program().items():
        every = set(option_names(command))
        needed = {each.opts[0] for each in option_names(command).values()}
        assert needed <= shown.get(name, set()) <= every, name


# Targets of make, and the environment


def make_targets(document: Path) -> Iterator[str]:
    """Targets in code spans and blocks."""
    texts = (*code_spans(prose(document)), *(block.text for block in blocks(document)))
    for text in texts:
        for words in re.findall(r"^make ([^#\n&;]+)", text, re.M):
            yield from (word for word in words.split() if re.fullmatch(r"[a-z][a-z-]*", word))


@each_document
def test_every_target_of_make_exists(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.M))
    assert not named(document, [name for name in make_targets(document) if name not in targets])


def environment_names(document: Path) -> set[str]:
    """Names in capitals with an underscore, without the constants in the recipes."""
    constants = {name for step in recipe_steps() for name in constants_of(step)}
    spans = code_spans(prose(document))
    found = {span for span in spans if re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", span)}
    for text in (*spans, *(block.text for block in blocks(document))):
        found |= set(re.findall(r"(?<![\w-])([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)=", text))
    return found - constants if document == CONTRIBUTING else found


@each_document
def test_every_environment_variable_is_a_setting_or_another_program_s(document: Path) -> None:
    known = {*variables(), *FOREIGN_VARIABLES}
    assert not named(document, sorted(environment_names(document) - known))


def test_every_variable_and_option_of_another_program_is_used() -> None:
    text = "".join(map(read, DOCUMENTS))
    assert [name for name in (*FOREIGN_VARIABLES, *FOREIGN_OPTIONS) if name not in text] == []


@pytest.mark.parametrize("name", ["README.md", "Documentation/configuration.md"])
def test_the_table_of_variables_has_every_setting(name: str) -> None:
    heading = "Environment" if name == "README.md" else "Environment variables"
    rows = table_rows(section(ROOT / name, heading))
    shown = {span for row in rows for span in code_spans(row[0])}
    assert [variable for variable in variables() if variable not in shown] == []


@pytest.mark.parametrize("name", ["files", "training", "prediction", "monitoring", "wording"])
def test_the_defaults_of_params_yaml_are_those_of_the_program(name: str) -> None:
    _, _, text = section(DOCUMENTATION / "configuration.md", "params.yaml").partition(
        f"### {name}\n"
    )
    rows = table_rows(text.partition("\n### ")[0])[1:]
    defaults = {code_spans(row[0])[0]: row[1].strip("`") for row in rows}
    record: Any = dict(SoftSensor.model_fields)[name].annotation
    fields = record.model_fields
    assert set(defaults) == set(fields)
    for key, field in fields.items():
        if isinstance(field.default, int | float | str):
            in_yaml = json.dumps(field.default).strip('"')
            assert defaults[key] == in_yaml, key


def test_every_reserved_name_is_in_the_configuration_and_no_other() -> None:
    text = section(DOCUMENTATION / "configuration.md", "params.yaml")
    rows = {row[0].partition(":")[0]: code_spans(row[-1]) for row in table_rows(text)}
    assert set(rows["in `online`"]) == INBOX_COLUMNS
    assert set(rows["for keys, targets and features"]) == LEDGER_COLUMNS
    assert set(rows["for targets"]) == STUDY_COLUMNS
    assert set(rows["everywhere"]) == {f"{PREFIX}*", *OTHERS_COLUMNS}


# Links, paths and modules


@cache
def anchors(document: Path) -> set[str]:
    """Anchors of the headings of a document, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(document), re.M):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        copies = sum(1 for other in found if re.fullmatch(rf"{re.escape(slug)}(-\d+)?", other))
        found.add(f"{slug}-{copies}" if copies else slug)
    return found


@each_document
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    faults = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if link.startswith(("https://", "http://")):
            continue
        place, _, anchor = link.partition("#")
        target = (document.parent / place).resolve() if place else document
        if not target.exists():
            faults.append(f"{link}: no such file")
        elif anchor and anchor not in anchors(target):
            faults.append(f"{link}: no such heading")
    assert not named(document, faults)


PLACES = "src|tests|benchmarks|deploy|examples|Documentation|Presentation"


@each_document
def test_every_path_of_the_repository_exists(document: Path) -> None:
    paths = re.findall(rf"(?<![\w/.-])(?:{PLACES})/[\w./-]*", read(document))
    faults = [path for path in paths if not (ROOT / path.rstrip("./")).exists()]
    assert not named(document, faults)


@cache
def definitions(file: Path) -> set[str]:
    """Names that a module defines or imports, and `Class.method`."""
    found: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        found |= _defined(node)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{name}" for part in node.body for name in _defined(part)}
    return found


def _defined(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    if isinstance(node, ast.AnnAssign):
        return {name.id for name in ast.walk(node.target) if isinstance(name, ast.Name)}
    if isinstance(node, ast.Assign):
        names = [name for target in node.targets for name in ast.walk(target)]
        return {name.id for name in names if isinstance(name, ast.Name)}
    return set()


def module_exists(dotted: str) -> bool:
    """Whether there is such a module, or such a name in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:length])
        module = place.with_suffix(".py")
        if not module.is_file() and not place.is_dir():
            continue
        names = parts[length:]
        file = module if module.is_file() else place / "__init__.py"
        return not names or ".".join(names) in definitions(file)
    return False


@each_document
def test_every_module_exists(document: Path) -> None:
    pattern = r"(?<![\w/.-])(?:src|benchmarks|tests)(?:\.[A-Za-z_]\w*)+"
    dotted = [name for name in re.findall(pattern, read(document)) if not name.endswith(".md")]
    faults = [name for name in dotted if not module_exists(name)]
    for block in blocks(document):
        for node in ast.walk(ast.parse(block.text if block.language == "python" else "")):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("src"):
                imported = [f"{node.module}.{alias.name}" for alias in node.names]
                faults += [name for name in imported if not module_exists(name)]
    assert not named(document, faults)


def test_the_table_of_packages_has_every_module() -> None:
    rows = table_rows(section(CONTRIBUTING, "Layout"))
    shown = {
        code_spans(row[0])[0]: {span for span in code_spans(row[2]) if " " not in span}
        for row in rows
        if len(row) == 3 and code_spans(row[0])
    }
    components = ROOT / "src" / "components"
    there = {
        package.parent.name: {file.stem for file in package.parent.glob("[!_]*.py")}
        for package in components.glob("*/__init__.py")
    }
    assert shown == there


# Recipes


def recipe_steps() -> list[str]:
    """The steps and paragraphs of the recipes, each on one line."""
    text = section(CONTRIBUTING, "How to")
    steps = re.split(r"\n\s*\n|\n(?=\d+\. )", text)
    return [" ".join(step.split()) for step in steps]


def constants_of(step: str) -> list[str]:
    """Names of a step that are those of constants or private functions of a module."""
    return [span for span in code_spans(step) if re.fullmatch(r"_[a-z]\w+|_?[A-Z][A-Z_]{3,}", span)]


def files_of(step: str) -> list[Path]:
    """Modules that a step names."""
    spans = [span for span in code_spans(step) if re.fullmatch(r"[\w/]+/\w+\.py", span)]
    return [ROOT / span for span in spans]


def test_every_constant_of_a_recipe_is_in_a_file_that_its_step_names() -> None:
    faults = []
    for step in recipe_steps():
        there = {name for file in files_of(step) for name in definitions(file)}
        faults += [name for name in constants_of(step) if name not in there]
    assert any(map(constants_of, recipe_steps())) and not faults


def test_every_name_is_defined_in_the_file_named_with_it() -> None:
    text = " ".join(prose(CONTRIBUTING).split())
    pairs = re.findall(r"`([A-Za-z_][\w.]*)`,? in `([\w/]+/\w+\.py)`", text)
    faults = [f"{name} in {file}" for name, file in pairs if name not in definitions(ROOT / file)]
    assert pairs and not faults


def test_every_recipe_for_an_addition_names_a_test() -> None:
    recipes = re.split(r"^### ", section(CONTRIBUTING, "How to"), flags=re.M)
    additions = [recipe for recipe in recipes if recipe.startswith("Add ")]
    nameless = [recipe.splitlines()[0] for recipe in additions if "`test_" not in recipe]
    assert len(additions) > 10 and nameless == []


def test_every_fixture_in_the_table_exists() -> None:
    conftests = (ROOT / "tests").rglob("conftest.py")
    text = "".join(file.read_text(encoding="utf-8") for file in conftests)
    fixtures = set(re.findall(r"fixture\(name=\"(\w+)\"|^def (\w+)\(", text, re.M))
    known = {name for pair in fixtures for name in pair}
    rows = [row for row in table_rows(section(CONTRIBUTING, "Tests")) if len(row) == 2]
    start = next(place for place, row in enumerate(rows) if row[0] == "fixture")
    end = next(place for place, row in enumerate(rows) if row[0] == "test")
    shown = [name for row in rows[start + 1 : end] for name in code_spans(row[0])]
    assert shown and [name for name in shown if name not in known] == []


# Tables and columns


@pytest.fixture(name="columns", scope="module")
def fixture_columns(spec: SoftSensor) -> dict[str, list[str]]:
    """Columns by table of the shipped params.yaml, the view and the twins among them."""
    found: dict[str, list[str]] = {}
    for prefix in ("", "test_"):
        described = vars(tables(spec, prefix)).values()
        found |= {table.name: [column.name for column in table.columns] for table in described}
        view, _ = latest_view(spec, prefix)
        found[view] = found[f"{prefix}archived_data"]
    return found


def expanded(spans: list[str], spec: SoftSensor) -> set[str]:
    """Column names of one cell: `<sensor>_mean`, `_std` stands for those of every sensor."""
    sensors, targets = [sensor.name for sensor in spec.sensors], spec.target_names
    found: set[str] = set()
    prefixes: list[str] = []
    for span in spans:
        if span.startswith("<"):
            kind, _, rest = span.partition(">")
            prefixes = sensors if kind == "<sensor" else targets
            found |= {prefix + rest for prefix in prefixes}
        elif span.startswith("_"):
            found |= {prefix + span for prefix in prefixes}
        else:
            found.add(span)
    return found


def test_database_md_has_every_table(columns: dict[str, list[str]]) -> None:
    introduction = read(DATABASE).partition("\n## ")[0]
    shown = {span for row in table_rows(introduction) for span in code_spans(row[0])}
    assert shown == {name for name in columns if not name.startswith("test_")}


def test_database_md_has_the_columns_of_every_table(
    columns: dict[str, list[str]], spec: SoftSensor
) -> None:
    for name in ("online_data", "archived_data", "rejected_data", "runs", "monitoring_tests"):
        rows = [row for row in table_rows(section(DATABASE, name)) if len(row) == 3]
        shown = {one for row in rows[1:] for one in expanded(code_spans(row[0]), spec)}
        if name == "rejected_data":  # "The columns of `columns.online`, followed by:"
            shown |= set(spec.columns.online)
        assert shown == set(columns[name]), name
    rows = table_rows(section(DATABASE, "laboratory_data"))
    shown = {span for row in rows for span in code_spans(row[0])}
    assert shown | set(spec.target_names) == set(columns["laboratory_data"])


@each_document
def test_every_table_and_column_of_a_statement_exists(
    document: Path, columns: dict[str, list[str]]
) -> None:
    known = {*columns, *POSTGRESQL, *(name for names in columns.values() for name in names)}
    statements = "\n".join(each.text for each in blocks(document) if each.language == "sql")
    known |= set(re.findall(r"(?:CREATE TABLE|RENAME TO|ADD CONSTRAINT|WITH) (\w+)", statements))
    known |= set(re.findall(r"^  (\w+) \w+;$", statements, re.MULTILINE))  # variables
    modules = {file.stem for file in (ROOT / "src").rglob("*.py")}
    spans = {span for span in code_spans(prose(document)) if re.fullmatch(r"\w+_data", span)}
    faults = sorted(spans - modules - set(columns))
    for block in blocks(document):
        if block.language != "sql":
            continue
        statement = re.sub(r"'[^']*'", "''", block.text)
        aliases = set(re.findall(r"AS (\w+)|\w+_data (\w)\b", statement))
        words = re.findall(r"(?<![\w'])([a-z_][a-z0-9_]*)\b(?!\()", statement)
        own = known | {alias for pair in aliases for alias in pair}
        faults += [word for word in words if word not in own]
    assert not named(document, faults)


# Codes


def first_codes(text: str, header: str) -> set[str]:
    """Codes in the first column of the table with this header."""
    rows = table_rows(text)
    start = next(place for place, row in enumerate(rows) if row[0] == header)
    return {span for row in rows[start + 1 :] for span in code_spans(row[0])}


def test_every_state_and_reason_is_in_database_md() -> None:
    states = section(DATABASE, "What happens to a row").partition("### ")[0]
    assert first_codes(states, "state") == {*Reason, State.KEPT, State.WAITING}
    replay = section(DATABASE, "Replaying rejected rows")
    assert first_codes(replay, "reason") == set(Reason)


def test_every_test_of_a_month_is_in_monitoring_md() -> None:
    monitoring = DOCUMENTATION / "monitoring.md"
    drift = section(monitoring, "Sensor drift").partition("| verdict |")[0]
    assert first_codes(drift, "indicator") == {each.name for each in (*SENSOR_INDICATORS, PROCESS)}
    others = {each.name for each in (*CHECKS, *TARGET_INDICATORS)}
    changes = section(monitoring, "Changes other than sensor drift")
    assert first_codes(changes, "check") == others
    laboratory = code_spans(section(monitoring, "Is the model still right?"))
    assert {each.name for each in LOSSES} <= set(laboratory)
    to_do = {row[0] for row in table_rows(section(monitoring, "What to do"))}
    advised = {span for cell in to_do for span in code_spans(cell)}
    assert advised <= {each.name for each in (*SENSOR_INDICATORS, PROCESS, *CHECKS, *LOSSES)}


def test_every_flag_is_in_usage_md() -> None:
    text = section(DOCUMENTATION / "usage.md", "Reading a prediction")
    codes = {code.removeprefix("<sensor>_") for code in first_codes(text, "flag")}
    assert codes == set(Flag)


# Messages

ENOUGH = 10  # characters, without the values, that make a text worth comparing
SHARE = 0.2  # of a quoted message that must be literal text of the program


@cache
def printed() -> list[list[str]]:
    """String literals of several words in the program, split where a value is inserted."""
    texts = re.findall(r'"([^"]+)"', (ROOT / "Makefile").read_text(encoding="utf-8"))
    for file in (ROOT / "src").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        joined = {
            id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values
        }
        texts += [_text(node) for node in nodes if id(node) not in joined]
    found = [re.split(r"\0|%[-+.\d]*[sdg]|\{[^}]*\}", text) for text in texts]
    return [parts for parts in found if _is_sentence(parts)]


def _text(node: ast.AST) -> str:
    """A string literal with \\0 for each inserted value; empty for any other node."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "\0" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _is_sentence(parts: list[str]) -> bool:
    return len("".join(parts)) >= ENOUGH and any(" " in part.strip() for part in parts)


def is_printed(message: str) -> bool:
    """Whether a message agrees with a literal; `...` in it stands for anything."""
    pieces = message.split("...")
    longest = max(pieces, key=len)
    for parts in printed():
        common = sum(_in_common(part, longest) for part in parts)
        whole = all(part in message for part in parts)
        if common >= SHARE * len(longest) and (whole or len(pieces) > 1):
            return True
    return False


def _in_common(part: str, piece: str) -> int:
    """Length of a part that a piece contains, or of the end of it where the piece is cut off."""
    if part in piece:
        return len(part)
    if part[:ENOUGH] not in piece and part[-ENOUGH:] not in piece:
        return 0
    lengths = range(ENOUGH, len(part))
    ends = [n for n in lengths if piece.endswith(part[:n]) or piece.startswith(part[-n:])]
    return max(ends, default=0)


def quoted_messages(document: Path) -> Iterator[str]:
    """Messages in the first column of the tables of messages."""
    inside = False
    for first, *_ in table_rows(read(document)):
        if not code_spans(first) or first.startswith("message"):  # the header of a table
            inside = first.startswith("message")
        elif inside:
            yield from shown_texts(first)


def shown_texts(cell: str) -> list[str]:
    """Code spans of several words that are not commands."""
    spans = [span for span in code_spans(cell) if " " in span]
    return [span for span in spans if not span.startswith("impress ")]


def unknown(quoted: list[str]) -> list[str]:
    """Quoted texts that neither the program nor a known library prints."""
    ours = [each for each in quoted if not each.startswith(tuple(FOREIGN_MESSAGES))]
    return [each for each in ours if not is_printed(each)]


def quoted_results() -> list[str]:
    """The last column of the table of commands in usage.md: what a command prints."""
    rows = table_rows(section(DOCUMENTATION / "usage.md", "Commands"))
    return [text for row in rows if len(row) == 3 for text in shown_texts(row[2])]


def test_every_quoted_message_is_printed_by_the_program() -> None:
    quoted = list(quoted_messages(DOCUMENTATION / "troubleshooting.md"))
    assert len(quoted) > 50
    assert unknown(quoted) == []


def test_the_results_of_commands_are_printed_by_the_program() -> None:
    assert len(quoted_results()) > 10
    assert unknown(quoted_results()) == []


def test_the_drift_report_in_usage_md_is_worded_as_the_program_does(spec: SoftSensor) -> None:
    text = section(DOCUMENTATION / "usage.md", "Reading a drift report")
    report = text.partition("```\n")[2].partition("```")[0]
    shown = [sensor_indicator(name) for name in (PEER, LEVEL, "scatter")]
    literal = [part for each in shown for part in re.split(r"\{.*?\}", each.words)]
    advice = sensor_indicator(PEER).advice.format(**spec.wording.model_dump())
    assert [part for part in (*literal, advice) if part not in report] == []
    sentences = re.findall(
        r"^(?:Compared|Evaluated|A shift|The reference|The last).*", report, re.M
    )
    assert len(sentences) == 6 and unknown(sentences) == []


def test_every_message_of_another_program_is_quoted() -> None:
    quoted = [*quoted_messages(DOCUMENTATION / "troubleshooting.md"), *quoted_results()]
    beginnings = tuple(FOREIGN_MESSAGES)
    assert [each for each in beginnings if not any(q.startswith(each) for q in quoted)] == []
