"""Java functions beyond the matrix, compiled against AWS's own interfaces."""

from __future__ import annotations

from tests.conftest import Functions
from tests.official.functions import OFFICIAL, SOURCES, java_classes


def test_java_handlers_take_beans_and_give_records(functions: Functions) -> None:
    core = next(OFFICIAL.glob("java/aws-lambda-java-core-*.jar"))
    files = java_classes(SOURCES / "java/src/example/Matrix.java", core)
    options = {"Runtime": "java17", "MemorySize": 512}
    name = functions.create(files, Handler="example.Matrix::pojo", **options)
    answer = functions.invoke(name, {"NAME": "you", "numbers": [1, 2], "unknown": {}})
    assert answer.payload == {"greeting": "hello you", "sum": 3}
    wrong = functions.invoke(name, {"numbers": "none"})
    assert wrong.payload["errorMessage"] == "An error occurred during JSON parsing"
    for handler, kind in (
        ("example.Matrix::none", "java.lang.NoSuchMethodException"),
        ("example.Nothing", "java.lang.ClassNotFoundException"),
    ):
        broken = functions.create(files, Handler=handler, **options)
        assert functions.invoke(broken).payload["errorType"] == kind
