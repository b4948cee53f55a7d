"""State dicts of torch: read as data, given to torchvision's nets, which compute as there."""

from __future__ import annotations

import json
import random
import zipfile

import numpy as np
import pytest
from golden.cases.torchvision_nets import CLASSES, NETS, image, weight
from golden.compare import OUTPUT, assert_close
from golden.store import DATA, Golden
from hostile import assert_small, claim

import zoo_keras as zk
from zoo_keras.errors import ConfigError, FileError, UnsupportedError, ZooKerasError
from zoo_keras.saving.torch import pickled, state_dict

GOLDEN = Golden("torchvision")
FILES = DATA / "torchvision"
FORMS = ("state.pth", "checkpoint.pth", "old.pth", "state.safetensors")


def safetensors(path, arrays):
    """A file of float32 arrays."""
    header, place = {}, 0
    for name, array in arrays.items():
        ends = [place, place + array.nbytes]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": ends}
        place = ends[1]
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(array.tobytes())
    return path


def arrays_of(name):
    shapes = GOLDEN.cases[name]["shapes"]
    return {key: weight(key, tuple(shape)) for key, shape in shapes.items()}


@pytest.mark.parametrize("name", NETS)
def test_a_net_computes_what_torch_does(name, tmp_path):
    path = safetensors(tmp_path / "net.safetensors", arrays_of(name))
    x = image(name)
    model = zk.saving.from_torch(path, name, input_shape=x.shape[1:])
    assert model.output_shape == (None, CLASSES)
    assert_close(model.predict_on_batch(x), GOLDEN.arrays(name)["predicted"], OUTPUT, name)


def test_layers_have_the_names_of_applications(tmp_path):
    path = safetensors(tmp_path / "net.safetensors", arrays_of("resnet50"))
    ours = zk.saving.from_torch(path, "resnet50", classifier_activation="softmax")
    keras = zk.applications.ResNet50(weights=None, classes=CLASSES)
    named = {layer.name for layer in keras.layers if layer.weights}
    assert {layer.name for layer in ours.layers if layer.weights} == named


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_state_dict_gives_the_same_arrays(form):
    found = state_dict.read(str(FILES / form))
    with np.load(FILES / "state.npz") as want:
        assert sorted(found) == sorted(want.files)
        for name in want.files:
            np.testing.assert_array_equal(found[name].astype("f4"), want[name], err_msg=name)


def test_names_of_trainings_and_old_files_are_cleaned(tmp_path):
    arrays = arrays_of("mobilenet_v2")
    wrapped = {f"module.{name}": array for name, array in arrays.items()}
    path = safetensors(tmp_path / "net.safetensors", wrapped)
    model = zk.saving.from_torch(path, "mobilenet_v2", input_shape=(32, 32, 3))
    kernel = model.get_layer("Conv1").kernel.numpy()
    want = arrays["features.0.0.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel, want)


def test_another_architecture_is_a_file_error_that_names_arrays(tmp_path):
    path = safetensors(tmp_path / "net.safetensors", arrays_of("resnet18"))
    with pytest.raises(FileError, match=r"do not fit resnet34.*layer1\.2\.conv1\.weight"):
        zk.saving.from_torch(path, "resnet34", input_shape=(32, 32, 3))
    with pytest.raises(ConfigError, match="'resnet9'"):
        zk.saving.from_torch(path, "resnet9")


def test_a_pickled_module_is_refused_and_runs_nothing():
    with pytest.raises(UnsupportedError, match=r"holds tensors alone.*Sequential"):
        state_dict.read(str(FILES / "module.pth"))


def test_a_pickle_that_calls_functions_is_refused(tmp_path):
    call = b"\x80\x02cos\nsystem\nX\x0a\x00\x00\x00touch evil\x85R."
    with zipfile.ZipFile(tmp_path / "m.pth", "w") as made:
        made.writestr("m/data.pkl", call)
    with pytest.raises(UnsupportedError, match=r"os.*system"):
        state_dict.read(str(tmp_path / "m.pth"))


@pytest.mark.parametrize("form", FORMS)
def test_damaged_files_are_typed_errors(form, tmp_path):
    whole, draw, path = (FILES / form).read_bytes(), random.Random(form), tmp_path / "m"
    for _ in range(60):
        data = bytearray(whole[: draw.choice([len(whole), draw.randrange(1, len(whole))])])
        for _ in range(draw.randrange(1, 6)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        path.write_bytes(bytes(data))
        error = assert_small(lambda: state_dict.read(str(path)))
        assert error is None or isinstance(error, ZooKerasError), repr(error)


def test_packed_bytes_beyond_the_file_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "m.pth"
    path.write_bytes((FILES / FORMS[0]).read_bytes())
    with zipfile.ZipFile(path) as made:
        name = next(n for n in made.namelist() if n.endswith("data.pkl"))
    claim(path, name, 1 << 30)
    error = assert_small(lambda: state_dict.read(str(path)))
    assert isinstance(error, FileError) and "data.pkl of" in str(error)


# A tuple that has another twice, and so on: few bytes, whose hash or text would have no end.
NEST = b")" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(200))


@pytest.mark.parametrize("end", [b"K\x01s.", b"Q."], ids=["key", "storage"])
def test_a_pickle_that_nests_without_end_is_refused_at_once(end):
    data = b"\x80\x02}" + NEST + end
    with pytest.raises((FileError, UnsupportedError)):
        pickled.read(data)


def test_a_storage_and_a_class_are_named_by_texts():
    storage = b"(U\x07storagectorch\nFloatStorage\n" + NEST + b"U\x03cpuK\x01tQ."
    for data in (storage, NEST + NEST + b"\x93."):
        with pytest.raises(FileError, match="no text"):
            pickled.read(b"\x80\x04" + data)


def test_a_list_that_is_copied_again_and_again_is_refused():
    pairs = b"](" + b"U\x01aK\x01\x86" * 5000 + b"eq\x01"
    data = (
        b"\x80\x02" + pairs + b"ccollections\nOrderedDict\nq\x02" + b"h\x02h\x01\x85R" * 5000 + b"."
    )
    with pytest.raises(FileError, match="more names"):
        pickled.read(data)


def test_arrays_of_safetensors_do_not_share_bytes(tmp_path):
    rows = {str(i): {"dtype": "BF16", "shape": [9], "data_offsets": [0, 18]} for i in range(2)}
    header = json.dumps(rows).encode()
    (tmp_path / "a.safetensors").write_bytes(
        len(header).to_bytes(8, "little") + header + b"\0" * 18
    )
    with pytest.raises(FileError, match="above each other"):
        state_dict.read(tmp_path / "a.safetensors")
