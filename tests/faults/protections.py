"""Each protection, how to take it out, and the test that fails then: what `make faults-proof` does.

`row` is that of docs/faults.md. `old` stands in `file` exactly once, and gives way to `new`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    row: str
    what: str
    file: str
    old: str
    new: str
    test: str
    also: tuple[tuple[str, str], ...] = ()  # what guards the same thing once more, in that file


ENGINE, STORES, FLY, APP = (
    f"rollbackd/{room}" for room in ("engine", "stores", "fly", "executors/app")
)
RUNNER = "tests/unit/engine/test_runner.py::test_"
FAULTS = "tests/faults/test_"
API = FAULTS + "api_faults.py::test_"

PROTECTIONS = (
    Protection(
        row="killed",
        what="a step that was started is read back before it is sent again",
        file=f"{ENGINE}/steps.py",
        old="if walk.row(step).attempts and await",
        new="if False and await",
        test=FAULTS + "kill.py::test_a_daemon_killed_at_random_loses_and_repeats_nothing",
    ),
    Protection(
        row="killed",
        what="lives that ended before a step are not the plan's fault",
        file=f"{STORES}/resumes.py",
        old="_IDLE_WORTH: Final = 5",
        new="_IDLE_WORTH: Final = 1",
        test="tests/unit/stores/test_resumes.py",
    ),
    Protection(
        row="killed",
        what="an end that was begun is the successor's, too",
        file=f"{ENGINE}/letting_go.py",
        old="    await walk.turn(RollbackState.COMPENSATING, intent(end))\n",
        new="",
        test="tests/unit/engine/test_letting_go.py"
        "::test_a_death_between_giving_back_and_the_end_changes_nothing_about_it",
    ),
    Protection(
        row="every boundary",
        what="a step is on disk before its effect",
        file=f"{ENGINE}/steps.py",
        old="            await self._start(walk, step)\n            error = await self._send",
        new="            error = await self._send",
        test=FAULTS + "crash_points.py::test_one_crash_anywhere_in_the_whole_runbook",
    ),
    Protection(
        row="every boundary",
        what="phases never overlap, on disk",
        file=f"{STORES}/journal_rows.py",
        old="        _refuse_overlap(connection, rollback, seq)",
        new="        pass",
        test="tests/unit/stores/test_sqlite.py"
        "::test_a_step_cannot_start_before_the_phases_ahead_of_it_are_finished",
    ),
    Protection(
        row="frozen",
        what="a deposed daemon sends nothing: the lock file",
        file=f"{STORES}/tenancy.py",
        old="        if not self._lock.held:",
        new="        if False:",
        test="tests/unit/stores/test_tenancy.py"
        "::test_a_frozen_holder_is_deposed_and_neither_writes_nor_sends_when_it_wakes",
    ),
    Protection(
        row="frozen",
        what="a deposed daemon writes nothing: the number in the database",
        file=f"{STORES}/tenancy.py",
        old="        if _number(connection) != self._number:",
        new="        if False:",
        test="tests/unit/stores/test_tenancy.py",
    ),
    Protection(
        row="frozen",
        what="who lost a rollback writes nothing of it: the fence",
        file=f"{STORES}/journal_rows.py",
        old="WHERE id = ? AND fence = ? AND {OPEN}",
        new="WHERE id = ? AND ? > 0 AND {OPEN}",
        test="tests/unit/stores/test_sqlite.py::test_a_claim_fences_off_whoever_had_it_before",
    ),
    Protection(
        row="frozen",
        what="the permit is looked at again when the bytes go out",
        file=f"{FLY}/wire.py",
        old="        if event in {_ABOUT_TO_SEND, whole}:",
        new="        if event in {whole} - {whole}:",
        test="tests/integration_fly/test_last_look.py",
    ),
    Protection(
        row="frozen",
        what="the nonce of the dead is not used again",
        file=f"{APP}_lease.py",
        old="        await client.release_lease(app, machine, left_by_dead)",
        new="        pass",
        test="tests/unit/executors/test_app_lease.py",
    ),
    Protection(
        row="torn log",
        what="a transition is one transaction",
        file=f"{STORES}/database.py",
        old='    connection.execute("BEGIN IMMEDIATE")\n    try:\n        yield\n'
        '        connection.execute("COMMIT")',
        new="    try:\n        yield",
        test=FAULTS + "torn_log.py",
    ),
    Protection(
        row="store gone",
        what="nothing is done that is not written down: the line is waited for",
        file=f"{ENGINE}/walk.py",
        old="        except TemporaryError as error:\n            if not told:",
        new="        except TemporaryError as error:\n            raise\n            if not told:",
        test=RUNNER + "a_full_disk_is_waited_for_and_nothing_is_done_without_its_line",
    ),
    Protection(
        row="full disk",
        what="a rollback under way waits for space",
        file=f"{ENGINE}/walk.py",
        old="        except TemporaryError as error:\n            if not told:",
        new="        except TemporaryError as error:\n            raise\n            if not told:",
        test=FAULTS + "each_step.py"
        "::test_with_the_disk_full_it_waits_and_goes_on_without_a_restart",
    ),
    Protection(
        row="full disk",
        what="ballast is given up for it",
        file=f"{STORES}/ballast.py",
        old="            self._file.unlink()\n        except OSError:",
        new="            raise OSError\n        except OSError:",
        test=FAULTS + "full_disk.py::test_the_ballast_carries_a_rollback_to_its_end",
    ),
    Protection(
        row="told to leave",
        what="a wait is cut short",
        file=f"{ENGINE}/pauses.py",
        old="        for task in self._running:\n            task.cancel()",
        new="        for task in ():\n            task.cancel()",
        test=RUNNER + "a_drain_does_not_wait_for_a_proof",
    ),
    Protection(
        row="platform",
        what="an empty list of machines is no answer",
        file=f"{APP}_looks.py",
        old="        if not fleet:",
        new="        if False:",
        test=API + "an_empty_list_of_machines_is_never_done",
    ),
    Protection(
        row="platform",
        what="an empty list of machines makes no plan",
        file=f"{APP}_plan.py",
        old="    if not fleet:",
        new="    if False:",
        test=API + "an_empty_list_of_machines_makes_no_plan",
    ),
    Protection(
        row="platform",
        what="errors of GraphQL with status 200 are errors",
        file=f"{FLY}/release_calls.py",
        old="        if errors:",
        new="        if False:",
        test="tests/unit/fly/test_errors.py tests/unit/fly/test_client.py",
    ),
    Protection(
        row="platform",
        what="a conflict of versions is read back, and tried again where nothing was applied",
        file=f"{ENGINE}/steps.py",
        old="        return conflicts < _CONFLICTS",
        new="        return False",
        test=API + "it_ends_well_and_nothing_is_applied_twice",
    ),
    Protection(
        row="platform",
        what="a lease of somebody else is waited for",
        file=f"{APP}_lease.py",
        old="            if left <= 0:",
        new="            if True:",
        test="tests/unit/executors/test_app_lease.py",
    ),
    Protection(
        row="platform",
        what="an update with no answer is read back before it is sent again",
        file=f"{APP}_machine.py",
        old="                if runs(machine, config):\n                    return drained\n"
        "                body =",
        new="                body =",
        test=API + "it_ends_well_and_nothing_is_applied_twice",
        also=(("        if version != job.version:", "        if False:"),),
    ),
    Protection(
        row="platform",
        what="a release record is looked for before it is posted",
        file=f"{APP}_record.py",
        old='return await self._found(plan) or await self._post(plan), ""',
        new='return await self._post(plan), ""',
        test=API + "it_ends_well_and_nothing_is_applied_twice",
    ),
    Protection(
        row="platform",
        what="without the releases API it goes on, degraded",
        file=f"{APP}_record.py",
        old="        except RollbackdError as error:\n            return {}, error.message",
        new="        except RollbackdError as error:\n            raise",
        test=API + "without_the_releases_api_it_is_degraded_and_ends_well",
    ),
    Protection(
        row="platform",
        what="a token that is revoked half way holds for a person",
        file=f"{ENGINE}/runner.py",
        old="        return await self._let_go_and_end(walk, over(*_HELD, detail))",
        new="        return await self._let_go_and_end(walk, over(*_SUPERSEDED, detail))",
        test=API + "a_token_revoked_half_way_holds_and_goes_on_with_another",
        also=(("        if held:\n            end =", "        if False:\n            end ="),),
    ),
    Protection(
        row="platform",
        what="a release of a person is stood back from",
        file=f"{APP}_record.py",
        old="        if newest is None or newest <= _known_newest(plan):",
        new="        if True:",
        test=API + "a_release_meanwhile_is_stood_back_from",
    ),
    Protection(
        row="time",
        what="a clock that is set moves no window and no deadline",
        file="rollbackd/clock.py",
        old="        return self._began_at + time.clock_gettime(_STEADY)",
        new="        return time.time()",
        test="tests/process/test_life.py"
        "::test_a_clock_that_is_set_while_it_rolls_back_waits_for_the_end",
    ),
    Protection(
        row="time",
        what="who slept for long looks before the next effect",
        file=f"{ENGINE}/steps.py",
        old="            await self.check_awake(walk)\n",
        new="",
        test=FAULTS + "struck.py::test_suspended_for_long_it_looks_around_before_it_does_anything",
    ),
    Protection(
        row="time",
        what="who resumes after a long absence looks first",
        file=f"{ENGINE}/going_on.py",
        old="    slept = walk.gap_seconds > IDLE_SECONDS",
        new="    slept = False",
        test=RUNNER + "after_a_long_absence_what_somebody_changed_holds",
    ),
    Protection(
        row="many at once",
        what="one open rollback per target, in the engine",
        file=f"{ENGINE}/undertakings.py",
        old="        if target in self._at_work:\n            raise Rejected",
        new="        if False:\n            raise Rejected",
        test="tests/unit/engine/test_undertakings.py"
        "::test_of_many_orders_at_once_one_begins_and_is_proved",
    ),
    Protection(
        row="many at once",
        what="one open rollback per target, in the store",
        file=f"{STORES}/admission.py",
        old="    if row is not None:",
        new="    if False:",
        test="tests/unit/stores/test_sqlite.py"
        "::test_a_second_rollback_of_the_same_target_is_refused_while_one_is_open",
    ),
    Protection(
        row="many at once",
        what="one open rollback per target, in the file itself",
        file=f"{STORES}/schema_sql.py",
        old="CREATE UNIQUE INDEX one_active",
        new="CREATE INDEX one_active",
        test="tests/unit/stores/test_sqlite.py"
        "::test_the_database_itself_refuses_a_second_open_rollback",
    ),
    Protection(
        row="many at once",
        what="one automatic rollback per bad release, ever",
        file=f"{STORES}/admission.py",
        old="    if spent is not None:",
        new="    if False:",
        test="tests/unit/stores/test_sqlite.py::test_one_automatic_rollback_per_bad_release_ever",
    ),
    Protection(
        row="another version",
        what="a file of a newer version is refused",
        file=f"{STORES}/database.py",
        old="    if version > SCHEMA_VERSION:",
        new="    if False:",
        test=FAULTS + "upgrade.py::test_an_older_one_refuses_the_file_and_the_newer_one_goes_on",
    ),
    Protection(
        row="another version",
        what="a file of an older version is brought up to date",
        file=f"{STORES}/database.py",
        old="        for statements in MIGRATIONS[version:]:",
        new="        for statements in ():",
        test=FAULTS + "upgrade.py",
    ),
    Protection(
        row="another version",
        what="a step of an unknown kind holds",
        file=f"{APP}_words.py",
        old="    except ValueError as error:",
        new="    except KeyError as error:",
        test=FAULTS + "upgrade.py::test_a_plan_with_a_step_nobody_here_knows_holds_and_lets_go",
    ),
    Protection(
        row="poison",
        what="a plan that ends the daemon is held",
        file=f"{ENGINE}/going_on.py",
        old="    if walk.journal.resumes > MOST_RESUMES:",
        new="    if False:",
        test=RUNNER + "a_plan_that_kills_the_daemon_is_held_after_five_resumes",
    ),
    Protection(
        row="stopped",
        what="what was let go of is taken out of traffic again",
        file=f"{ENGINE}/going_on.py",
        old="            if observed.seen is Seen.NOT_DONE:\n                await walk.note",
        new="            if False:\n                await walk.note",
        test="tests/unit/engine/test_taken_again.py",
    ),
    Protection(
        row="stopped",
        what="nothing is sent while STOP is there",
        file=f"{ENGINE}/stop.py",
        old="        if self.stopped:",
        new="        if False:",
        test=RUNNER + "a_stop_at_any_step_sends_nothing_more_until_it_is_lifted",
    ),
    Protection(
        row="soon",
        what="a start waits for nothing",
        file="rollbackd/daemon/tenure.py",
        old="        told = False\n        while True:\n",
        new="        told = False\n        await self._clock.sleep(12)\n        while True:\n",
        test=FAULTS + "resuming.py",
    ),
)
