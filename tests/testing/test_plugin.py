"""The pytest plugin has what it says, and costs nothing where it is not used."""

from __future__ import annotations

import sys

import pytest

ARGS = ("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:randomly")

BARE = (*ARGS, "-p", "no:hypothesispytest", "--assert=plain")
"""For a process of its own, which otherwise takes seconds to rewrite the assertions of plugins."""


def test_fixtures_are_there_and_the_seed_is_told(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_it(eventsrc_seed, eventsrc_store, eventsrc_simulated_store):
            from eventsrc import Head, StreamId
            assert eventsrc_seed == 42
            assert eventsrc_store.run(Head(StreamId("a"))) == 0
            assert eventsrc_simulated_store.store_id == "simulated"
        """
    )
    done = pytester.runpytest_inprocess(*ARGS, "--eventsrc-seed=42")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["eventsrc: --eventsrc-seed=42"])


def test_a_seed_by_chance_is_told_and_the_usual_one_is_0(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(eventsrc_seed): assert eventsrc_seed >= 0")
    done = pytester.runpytest_inprocess(*ARGS, "--eventsrc-seed=random")
    done.assert_outcomes(passed=1)
    done.stdout.re_match_lines([r"eventsrc: --eventsrc-seed=\d+"])
    assert "eventsrc:" not in pytester.runpytest_inprocess(*ARGS).stdout.str()


def test_what_is_no_seed_is_refused(pytester: pytest.Pytester) -> None:
    done = pytester.runpytest_inprocess(*ARGS, "--eventsrc-seed=often")
    done.stderr.fnmatch_lines(["*--eventsrc-seed=often: give a number, or `random`*"])
    assert done.ret == pytest.ExitCode.USAGE_ERROR


def test_a_run_that_does_not_use_it_imports_nothing_of_the_library(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it():
            assert "pytest_eventsrc" in sys.modules
            packages = {name.partition(".")[0] for name in sys.modules}
            assert packages.isdisjoint({"eventsrc", "attrs", "cattrs"})
        """
    )
    done = pytester.runpytest_subprocess(*BARE)
    done.assert_outcomes(passed=1)


def test_it_can_be_left_out(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import sys\ndef test_it(): assert 'pytest_eventsrc' not in sys.modules")
    pytester.runpytest_subprocess(*BARE, "-p", "no:eventsrc").assert_outcomes(passed=1)
    assert sys.modules.get("pytest_eventsrc") is not None


def test_postgres_is_there_or_the_test_is_skipped(eventsrc_postgres: str) -> None:
    import psycopg

    with psycopg.connect(eventsrc_postgres) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
