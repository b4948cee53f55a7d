"""What a fit shows of itself: seconds by part, a page, descriptions in Spark's UI."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from unittest import mock
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image as pictures
from test_fit_failures import LABELS, X, classifier, records

import zoo_keras as keras
from zoo_keras import callbacks
from zoo_keras.errors import ConfigError
from zoo_keras.spark import report
from zoo_keras.spark.fit import driver
from zoo_keras.spark.fit import report as pages
from zoo_keras.spark.fit.rank import RankWorker
from zoo_keras.training import clock as clocks
from zoo_keras.training.clock import PARTS, Account, Clock, mean

pytestmark = pytest.mark.spark


def test_every_second_of_a_fit_has_a_part(local2):
    def wait(epoch, logs):
        time.sleep(0.3)

    start = time.perf_counter()
    history = classifier().fit(
        records(local2), epochs=3, batch_size=8, verbose=0, validation_data=(X, LABELS),
        callbacks=[callbacks.LambdaCallback(on_epoch_end=wait)],
    )  # fmt: skip
    whole = time.perf_counter() - start
    assert list(history.timing) == list(PARTS) and len(history.ranks) == 2
    assert all(seconds >= 0 for rank in history.ranks for seconds in rank.values())
    assert history.timing == mean(history.ranks)
    assert history.timing["callbacks"] >= 0.6  # two gates: after the last epoch nobody waits
    for part in ("start", "read", "compute", "exchange", "update", "validate"):
        assert history.timing[part] > 0, part
    assert all(sum(rank.values()) <= whole for rank in history.ranks)


def test_lines_of_epochs_say_how_fast_it_is_and_callbacks_where_time_goes(local2, capsys):
    seen = []
    look = callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(
            [len(model.history.ranks), model.history.hosts]
        )
    )
    model = classifier()
    model.fit(records(local2), epochs=2, batch_size=8, verbose=2, callbacks=[look])
    lines = capsys.readouterr().out.splitlines()
    told = [re.fullmatch(r"Epoch \d/2 - [\d.]+s - ([\d,]+) samples/s - .*", each) for each in lines]
    assert len(lines) == 2 and all(int(each[1].replace(",", "")) > 0 for each in told)
    assert seen == [[2, [socket.gethostname()] * 2]] * 2


def test_who_comes_late_waits_for_nobody(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(clocks.time, "perf_counter", lambda: now[0])
    early, late = Clock(), Clock()
    now[0] = 1.0
    early.lap("compute")
    now[0] = 5.0
    late.lap("compute")
    now[0] = 5.5
    for clock, alone in ((early, 1.0), (late, 5.0)):
        clock.met(alone, [1.0, 5.0])
    assert early.waits == {1: 4.0} and late.waits == {}
    assert (early.seconds["wait"], early.seconds["exchange"]) == (4.0, 0.5)
    assert (late.seconds["wait"], late.seconds["exchange"]) == (0.0, 0.5)
    assert early.total() == late.total() == sum(early.seconds.values()) == 5.5


def test_seconds_of_jobs_that_were_restarted_add_up():
    account = Account()
    account.callbacks = 1.0
    account.told([{**dict.fromkeys(PARTS[1:-1], 1.0), "gate": 0.5}])
    account.end_job()
    account.told([{**dict.fromkeys(PARTS[1:-1], 2.0), "gate": 2.5}])
    (rank,) = account.ranks()
    assert rank["compute"] == 3 and rank["callbacks"] == 1 and rank["wait"] == 3 + 2
    account = Account()
    account.told([{}, {}], [{1: 1.0}, {}])
    account.end_job()
    account.told([{}, {}], [{1: 0.5}, {0: 2.0}])
    assert account.waits() == [{1: 1.5}, {0: 2.0}]
    assert Account().ranks() == []


class Slow(driver._Body):
    """Rank 1 takes its time in every step."""

    def __call__(self, rank):
        original = RankWorker._prepare

        def prepare(worker, *given):
            time.sleep(0.05 * rank.rank)
            original(worker, *given)

        with mock.patch.object(RankWorker, "_prepare", prepare):
            return super().__call__(rank)


def test_a_report_says_which_rank_is_waited_for(local2, monkeypatch, tmp_path):
    monkeypatch.setattr(driver, "_Body", Slow)
    history = classifier().fit(records(local2), epochs=2, batch_size=8, verbose=0)
    assert history.waits[0][1] > history.waits[1].get(0, 0.0)
    assert history.waits[0][1] <= history.ranks[0]["wait"]
    assert history.hosts == [socket.gethostname()] * 2
    report(history, tmp_path / "report.html")
    text, page = parsed(tmp_path / "report.html")
    assert f"s of it for rank 1 on {socket.gethostname()}." in text
    cells = [cell.text for cell in page.findall(".//table")[-1].findall(".//td")]
    assert len(cells) == 4 and cells[1] == f"{history.waits[0][1]:.2f}"


def test_a_rank_that_a_later_job_lacks_keeps_its_seconds():
    account = Account()
    account.told([{"compute": 1.0}, {"compute": 2.0}], [{1: 0.5}, {}])
    account.end_job()
    account.told([{"compute": 3.0}], [{}])
    assert [rank["compute"] for rank in account.ranks()] == [4.0, 2.0]
    assert account.waits() == [{1: 0.5}, {}]


def parsed(path):
    """The page's elements; every tag but the head's is closed."""
    text = path.read_text()
    assert not re.search(r"<script|https?://|<img|<link", text)
    body = text[text.index("<body>") : text.index("</html>")].replace("&nbsp;", " ")
    return text, ElementTree.fromstring(body)


def test_a_report_is_one_page_by_itself(local2, tmp_path):
    path, model = tmp_path / "report.html", classifier()
    history = model.fit(records(local2), epochs=2, verbose=0, validation_split=0.2)
    report(history, path)
    text, page = parsed(path)
    assert len(page.findall(".//polyline")) == 4  # loss and accuracy, and their validation
    assert len(page.findall(".//rect")) == 2 * len(PARTS)
    assert "dense" in page.find("pre").text and "rank 1" in text
    assert list(tmp_path.iterdir()) == [path]


def test_a_fit_on_arrays_is_one_rank_and_odd_values_do_no_harm(tmp_path):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)], name="a<b>&c")
    model.compile("sgd", "mse")
    history = model.fit(X, X[:, :1], epochs=1, verbose=0, validation_split=0.5)
    assert history.ranks == [history.timing] and list(history.timing) == list(PARTS)
    used = [part for part in PARTS if history.timing[part] > 0]
    assert used == ["read", "compute", "validate", "callbacks"]
    history.history = {"loss": [float("nan")], "lr": [np.float32(0.1)], "val_loss": [1.0]}
    report(history, tmp_path / "r.html")
    text, page = parsed(tmp_path / "r.html")
    assert len(page.findall(".//rect")) == len(PARTS) and page.find("h1").text == "a<b>&c"
    with pytest.raises(ConfigError, match=r"Received: .*Call fit first"):
        report(callbacks.History(), tmp_path / "none.html")


def test_a_report_draws_validation_at_its_epochs(tmp_path):
    model, history = (
        keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)]),
        callbacks.History(),
    )
    model.compile("sgd", "mse")
    across = []
    for first, last in ((0, 3), (3, 5)):  # the second fit goes on with the History
        model.fit(X, X[:, :1], initial_epoch=first, epochs=last, verbose=0, callbacks=[history],
                  validation_data=(X, X[:, :1]), validation_freq=[2, 4])  # fmt: skip
        report(history, tmp_path / "r.html")
        _, page = parsed(tmp_path / "r.html")
        lines = [line.get("points").split() for line in page.findall(".//polyline")]
        across.append([[float(point.split(",")[0]) for point in line] for line in lines])
    for (trained, tested), places in zip(across, ([1], [1, 3]), strict=True):
        assert trained == sorted(trained) and tested == [trained[place] for place in places]
    assert [len(trained) for trained, _ in across] == [3, 5]


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)


@pytest.mark.skipif(BROWSER is None, reason="no browser is here")
def test_a_browser_shows_curves_and_bars(tmp_path):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(X, X[:, :1], epochs=3, verbose=0)
    history.ranks = [dict(zip(PARTS, range(1, 9))), dict(zip(PARTS, range(8, 0, -1)))]
    report(history, tmp_path / "r.html")
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    shot = [f"--user-data-dir={tmp_path}/profile", f"--screenshot={tmp_path}/r.png"]
    where = ["--window-size=1100,1500", (tmp_path / "r.html").as_uri()]
    subprocess.run([BROWSER, *words, *shot, *where], check=True, timeout=300, capture_output=True)
    picture = np.asarray(pictures.open(tmp_path / "r.png").convert("RGB"))
    for number, part in enumerate(PARTS):
        colour = np.array([int(pages._COLOURS[part][i : i + 2], 16) for i in (1, 3, 5)])
        widths = np.sort((picture == colour).all(axis=2).sum(axis=1))[-34:]  # two bars of 17 lines
        longest = (2 * pages._WIDE - pages._EDGE) / 36
        short, wide = sorted([number + 1, 8 - number])
        np.testing.assert_allclose(widths[[2, -3]] / longest, [short, wide], atol=0.1)


def test_jobs_say_in_sparks_ui_what_they_are(local2):
    store = local2._jsc.sc().statusStore()

    def described(call):
        before = {job for job in range(2000) if local2.statusTracker().getJobInfo(job)}
        call()
        new = {job for job in range(2000) if local2.statusTracker().getJobInfo(job)} - before
        texts = [store.job(job).description() for job in new]
        return {text.get() for text in texts if text.isDefined()}

    model = classifier()
    fits = described(lambda: model.fit(records(local2), epochs=2, batch_size=8, verbose=0))
    assert f"zoo_keras fit of {model.name}: epochs 1 to 2, 2 ranks, batches of 8" in fits
    (tests,) = described(lambda: model.evaluate(records(local2), verbose=0)) - fits
    assert tests == f"zoo_keras evaluate of {model.name}"
    assert local2.getLocalProperty("spark.job.description") is None
