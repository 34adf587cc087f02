"""Rows from a user's file: read as they are meant, or refused in a sentence that mends them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from torch_sigmoid_ext.export import sample_files
from torch_sigmoid_ext.export.errors import UsageError
from torch_sigmoid_ext.export.labels import fitted_labels
from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.stored import GivenSample, load_samples, save_samples
from torch_sigmoid_ext.export.user_samples import Rows, load_rows, rows_of

ONE = [InputSpec.parse("x=float32[batch,3]")]
TWO = [InputSpec.parse("x=float32[batch,3]"), InputSpec.parse("flag=int64[batch]")]


def npz(path: Path, **arrays: object) -> Path:
    np.savez(path / "rows.npz", **arrays)
    return path / "rows.npz"


def csv(path: Path, text: str | bytes) -> Path:
    file = path / "rows.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def test_npz_is_an_array_an_input_in_its_dtype_with_labels_beside(tmp_path: Path) -> None:
    x, flag = np.arange(12.0).reshape(4, 3) / 7, np.array([0, 1, 1, 0], np.uint8)
    rows = load_rows(npz(tmp_path, flag=flag, x=x, target=[1, 0, 0, 1], notes=[9]), TWO)
    assert [a.dtype.name for a in rows.inputs] == ["float32", "int64"]
    np.testing.assert_array_equal(rows.inputs[0], x.astype(np.float32))
    np.testing.assert_array_equal(rows.inputs[1], flag)
    assert rows.labels is not None and rows.labels.tolist() == [1, 0, 0, 1]
    assert (rows.rows, rows.at_once, rows.axes) == (4, 4, [0, 0])
    assert rows.notes == ["rows.npz: notes is neither an input nor the labels: not used"]


def test_labels_go_by_the_name_that_is_asked_for(tmp_path: Path) -> None:
    file = npz(tmp_path, x=np.ones((2, 3)), label=[0, 0], sick=[0, 1])
    assert load_rows(file, ONE, "sick").labels.tolist() == [0, 1]
    assert load_rows(file, ONE).labels.tolist() == [0, 0]
    with pytest.raises(UsageError, match="under --label ill, got label, sick names beside"):
        load_rows(file, ONE, "ill")


def test_csv_columns_are_the_features_in_order_without_the_label(tmp_path: Path) -> None:
    text = '\ufeffu, "v",label,w\r\n1,2.5,1,-3e2\r\n\r\n"4",5,0,nan\r\n'
    rows = load_rows(csv(tmp_path, text), ONE)
    np.testing.assert_array_equal(rows.inputs[0], np.float32([[1, 2.5, -300], [4, 5, np.nan]]))
    assert rows.labels is not None and rows.labels.tolist() == [1, 0]


def test_csv_of_one_column_is_an_input_of_one_dimension(tmp_path: Path) -> None:
    rows = load_rows(csv(tmp_path, "x\n1\n2\n"), [InputSpec.parse("x=int64[n]")])
    assert rows.inputs[0].tolist() == [1, 2] and rows.inputs[0].dtype == np.int64


def test_arrays_are_taken_as_they_are_in_python() -> None:
    x = np.ones((5, 3))
    for given in ([x], {"x": x}, [x.tolist()]):
        rows = load_rows(given, ONE, labels=np.zeros(5))
        assert rows.inputs[0].shape == (5, 3) and rows.labels.tolist() == [0] * 5


def test_many_rows_take_several_runs_and_a_fixed_batch_as_many_as_it_must() -> None:
    wide = [InputSpec.parse(f"x=float32[batch,{1 << 20}]")]
    assert load_rows([np.zeros((9, 1 << 20), np.float32)], wide).at_once == 4
    fixed = [InputSpec.parse("x=float32[2,3]"), InputSpec.parse("scale=float32[]")]
    rows = load_rows([np.ones((6, 3)), np.float32(2)], fixed)
    assert (rows.rows, rows.at_once, rows.axes) == (6, 2, [0, None])
    with pytest.raises(UsageError, match=r"multiple of 2 rows .* got 5; .*make it dynamic"):
        load_rows([np.ones((5, 3)), np.float32(2)], fixed)


def test_rows_that_are_not_the_first_axis_stay_together() -> None:
    specs = [InputSpec.parse("x=float32[1,steps,3]")]
    rows = load_rows([np.ones((1, 7, 3))], specs)
    assert (rows.rows, rows.at_once, rows.axes) == (7, 7, [1])
    assert rows.take(np.array([6, 0]))[0].shape == (1, 2, 3)


WRONG_NPZ = {
    "missing": ({"y": np.ones((2, 3))}, "for each input (x) in rows.npz, got y; x is missing"),
    "none": ({}, "got none; x is missing"),
    "width": ({"x": np.ones((2, 4))}, "shape [batch,3] for x=float32[batch,3]", "got [2, 4]"),
    "rank": ({"x": np.ones(3)}, "shape [batch,3]", "got [3]"),
    "object": ({"x": np.array([[1, None, 2]], object)}, "to hold numbers, got dtype object"),
    "text": ({"x": np.array([["a", "b", "c"]])}, "to hold numbers, got dtype <U1"),
    "complex": ({"x": np.ones((2, 3), complex)}, "to hold numbers, got dtype complex128"),
    "bool": ({"x": np.ones((2, 3), bool)}, "expected floats", "got bool"),
    "empty": ({"x": np.ones((0, 3))}, "at least one row", "got shape [0, 3]"),
    "overflow": ({"x": np.full((2, 3), 1e39)}, "values that are float32", "got 1e+39 at [0, 0]"),
    "too many labels": ({"x": np.ones((2, 3)), "label": [1, 2, 3]}, "each of the 2 rows"),
    "nan label": (
        {"x": np.ones((2, 3)), "label": [1, np.nan]},
        "every label in rows.npz to be a number, got nan in row 1; leave rows",
    ),
    "text label": ({"x": np.ones((2, 3)), "label": ["a", "b"]}, "label in rows.npz to hold numb"),
}


@pytest.mark.parametrize("case", WRONG_NPZ)
def test_wrong_npz_is_answered_with_what_was_expected_and_came(tmp_path: Path, case: str) -> None:
    arrays, *says = WRONG_NPZ[case]
    with pytest.raises(UsageError) as error:
        load_rows(npz(tmp_path, **arrays), ONE)
    assert all(words in str(error.value) for words in says), error.value
    assert "; " in str(error.value)  # what to do about it


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("int64", [0.5]),
        ("int64", [np.nan]),
        ("int8", [128]),
        ("uint8", [-1]),
        ("uint64", [-1]),
        ("bool", [2]),
        ("float16", [65520]),
    ],
)
def test_value_that_the_dtype_has_not_is_refused(dtype: str, values: list[float]) -> None:
    with pytest.raises(UsageError, match=f"values that are {dtype} for x={dtype}"):
        load_rows([np.array(values)], [InputSpec.parse(f"x={dtype}[n]")])


def test_inputs_must_agree_on_their_dimensions() -> None:
    with pytest.raises(UsageError, match=r"one size for .*'batch'.* got 2 and 3 \(in flag\)"):
        load_rows([np.ones((2, 3)), np.ones(3, int)], TWO)
    with pytest.raises(UsageError, match="each of the 2 inputs in samples, got 1"):
        load_rows([np.ones((2, 3))], TWO)
    with pytest.raises(UsageError, match="rows of different lengths"):
        load_rows([[[1, 2, 3], [4]]], ONE)


WRONG_CSV = {
    "empty": ("", "a header", "got an empty file"),
    "header only": ("a,b,c\n", "at least one row"),
    "no header": ("1,2,3\n4,5,6\n", "a header", "got numbers in the first line"),
    "twice": ("a,a,c\n1,2,3\n", "'a' twice"),
    "ragged": ("a,b,c\n1,2,3\n1,2\n", "3 cells in line 3 of rows.csv", "got 2"),
    "text": ("a,b,c\n1,2,red\n", "a number in line 2, column 'c'", "got 'red'"),
    "hole": ("a,b,c\n1,,3\n", "a number in line 2, column 'b'", "got ''"),
    "holes": ("a,b,c\n1,2,3\n,,\n", "a number in line 3, column 'a'"),
    "python's own": ("a,b,c\n1,2,1_000\n", "got '1_000'"),
    "semicolons": ("a;b;c\n1;2;3\n", "got '1;2;3'"),
    "columns": ("a,b,c,d\n1,2,3,4\n", "3 columns for x", "got 4: a, b, c, d", "--label"),
    "bytes": (b"a,b,c\n\xff\xfe,1,2\n", "in UTF-8"),
    "quote": ('a,b,c\n1,2,"3\n', "it cannot be read"),
    "nan label": ("a,b,c,label\n1,2,3,nan\n", "got nan in row 0"),
}


@pytest.mark.parametrize("case", WRONG_CSV)
def test_wrong_csv_is_answered_with_line_and_column(tmp_path: Path, case: str) -> None:
    text, *says = WRONG_CSV[case]
    with pytest.raises(UsageError) as error:
        load_rows(csv(tmp_path, text), ONE)
    assert all(words in str(error.value) for words in says), error.value


def test_csv_is_for_one_input_of_two_dimensions(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"one input .* got x=.*flag=.*; give the arrays as .npz"):
        load_rows(csv(tmp_path, "a\n1\n"), TWO)


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match=r"FILE.npz or FILE.csv, got .*rows.parquet"):
        load_rows(tmp_path / "rows.parquet", ONE)
    for name in ("none.npz", "none.csv"):
        with pytest.raises(UsageError, match="found none; check the path"):
            load_rows(tmp_path / name, ONE)
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(UsageError, match="found none"):
        load_rows(tmp_path / "folder.npz", ONE)


def test_truncated_or_foreign_npz_is_one_error_at_every_length(tmp_path: Path) -> None:
    content = npz(tmp_path, x=np.ones((4, 3))).read_bytes()
    file = tmp_path / "rows.npz"
    for length in range(0, len(content), 7):
        file.write_bytes(content[:length])
        with pytest.raises(UsageError, match="it cannot be read"):
            load_rows(file, ONE)


def test_spoiled_byte_is_an_error_of_use_or_a_number(tmp_path: Path) -> None:
    content = npz(tmp_path, x=np.ones((4, 3), np.float32)).read_bytes()
    file = tmp_path / "rows.npz"
    refused = 0
    for at in range(len(content)):
        file.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        try:
            load_rows(file, ONE)
        except UsageError:
            refused += 1
    assert refused > len(content) // 2


def member(shape: str, descr: str = "<f4", content: bytes = b"") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (member("(4000000000, 3)"), "at most 67,108,864 elements, got 12,000,000,000"),
        (member("(10000000, 3)"), "x is shorter than its header says"),
        (member("(-1, 3)"), "cannot be read"),
        (member("(2, 3)", "|O"), "got dtype object"),
        (b"no array", "cannot be read"),
    ],
)
def test_hostile_header_is_refused_before_memory_is_taken(
    tmp_path: Path, content: bytes, says: str
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content)
    (tmp_path / "rows.npz").write_bytes(buffer.getvalue())
    with pytest.raises(UsageError, match=says):
        load_rows(tmp_path / "rows.npz", ONE)


def test_pickle_in_an_npz_is_never_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    np.savez(tmp_path / "rows.npz", x=np.array([Bomb()], object))
    with pytest.raises(UsageError, match="got dtype object"):
        load_rows(tmp_path / "rows.npz", ONE)
    assert not (tmp_path / "ran").exists()


def test_too_large_a_table_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sample_files, "CSV_BYTES", 10)
    with pytest.raises(UsageError, match="at most 10 bytes, got 12; give fewer rows"):
        load_rows(csv(tmp_path, "a,b,c\n1,2,3\n"), ONE)


def test_label_and_threshold_are_about_samples() -> None:
    assert rows_of(None, ONE) is None
    for options in ({"label": "y"}, {"threshold": 0.1}, {"labels": np.ones(3)}):
        with pytest.raises(UsageError, match="give --samples"):
            rows_of(None, ONE, **options)
    for threshold in (0.0, 1.0, float("nan")):
        with pytest.raises(UsageError, match="between 0 and 1"):
            rows_of([np.ones((2, 3))], ONE, threshold=threshold)


def labels(values: list, shape: tuple[int, ...]) -> list:
    return fitted_labels(np.array(values, float), shape, "output 0").tolist()


def test_labels_take_the_outputs_shape() -> None:
    assert labels([1, 0], (2,)) == [1, 0]
    assert labels([1, 0.25], (2, 1)) == [[1], [0.25]]
    assert labels([[1], [0]], (2,)) == [1, 0]
    assert labels([2, 0], (2, 3)) == [[0, 0, 1], [1, 0, 0]]  # classes
    assert labels([[1, 1], [0, 1]], (2, 2)) == [[1, 1], [0, 1]]
    for wrong, shape in (([2, 3], (2, 3)), ([0.5, 1], (2, 3)), ([[1, 0]] * 2, (2, 3))):
        with pytest.raises(UsageError, match="expected labels for output 0 of shape"):
            labels(wrong, shape)
    with pytest.raises(UsageError, match="got values from -1 to 1"):
        labels([-1, 1], (2,))


def test_rows_is_what_is_returned() -> None:
    assert isinstance(rows_of([np.ones((2, 3))], ONE), Rows)


@pytest.mark.parametrize(
    "change",
    [
        {"given/runs/0": np.array([3, 0, 1])},
        {"given/runs/0": np.array([3, 3])},
        {"given/runs/0": np.array([3, 1, 0])},
        {"given/runs/0": np.array([1 << 40, 1, 1]), "given/inputs/0": np.ones((1 << 40, 0))},
        {"given/runs/0": np.array([[3], [3]])},
        {"given/threshold/0": np.array(np.nan)},
        {"given/threshold/0": np.array("half")},
        {"given/labels/0": np.ones(2)},
        {"given/labels/7": np.ones((3, 1))},
        {"given/labels": np.ones(3)},
        {"x/inputs/0": np.ones(3)},
        {"4/inputs/0": np.array([None])},
    ],
)
def test_stored_rows_that_are_not_as_written_are_refused(tmp_path: Path, change: dict) -> None:
    sample = GivenSample(3, [np.ones((3, 2))], [np.ones((3, 1))], [np.ones((3, 1))], 3, [True])
    file = tmp_path / "samples.npz"
    save_samples(file, [sample])
    inputs = [InputSpec.parse("x=float64[batch,2]")]
    [again] = load_samples(file, inputs)
    assert isinstance(again, GivenSample) and (again.at_once, again.cut) == (3, [True])
    with np.load(file) as stored:
        arrays = {**stored, **change}
    np.savez(file, **arrays)
    with pytest.raises(UsageError, match=r"^samples\.npz has .*; export the model again$"):
        load_samples(file, inputs)
