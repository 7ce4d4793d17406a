# What people read, in English. The same messages with the same arguments are in pt-BR.ftl; a test compares them.

## Units and numbers
decimal-separator = .
approximately = about { $duration }
progress-of = { $done } of { $total }
unit-files = { $n ->
    [one] 1 file
   *[other] { $n } files
}
unit-attempt = attempt { $n }
count-steps = { $n ->
    [one] 1 step
   *[other] { $n } steps
}
count-attempts = { $n ->
    [one] 1 attempt
   *[other] { $n } attempts
}
count-errors = { $n ->
    [one] 1 error
   *[other] { $n } errors
}
count-warnings = { $n ->
    [one] 1 warning
   *[other] { $n } warnings
}

## States of a step
state-pending = not started yet
state-started = running
state-retrying = failed, will be tried again
state-succeeded = done
state-failed = failed
state-skipped = skipped: its condition does not hold
state-not-run = not run
state-unknown = unknown: it started, and nobody knows what became of it
state-undo-started = being undone
state-undo-retrying = could not be undone, will be tried again
state-undone = undone
state-undo-failed = could not be undone

## One line an event
run-begins = { $plan } · run { $run } · { $steps }
run-resumed = { $plan } · run { $run } goes on · { $steps }
step-started = { $attempt ->
    [1] started
   *[other] started, attempt { $attempt }
}
step-undo-started = { $attempt ->
    [1] undoing
   *[other] undoing, attempt { $attempt }
}
step-succeeded = done in { $took }
step-undone = undone in { $took }
step-failed = failed after { $took }
step-undo-failed = could not be undone, after { $took }
step-written-off = could not be undone, and is left as it is
still-running = still running after { $took }
last-lines = { $n ->
    [one] its last line:
   *[other] its last { $n } lines:
}
reachable = the service answers again
unreachable = the service does not answer
stopping = stopping: live steps have { $grace } to end; Ctrl-C again ends them at once
live = LIVE: the new version is in service
live-without-downtime = LIVE: the new version is in service; the service was never down
live-after = LIVE: the new version is in service; the service was down for { $downtime }
undoing = undoing

## The alarm
alert = ALERT
unwinding-because = step { $step } failed: what was done is being undone
unwinding-nothing = step { $step } failed; nothing had been changed yet
unwinding-asked = as asked, what was done is being undone

## The total below the running steps
total-done = { $done } of { $steps ->
    [one] 1 step
   *[other] { $steps } steps
}
total-undone = { $n } undone
total-running = { $n } running
total-down = service down for { $duration }

## The recap
outcome-succeeded = Succeeded
outcome-warned = Succeeded with warnings
outcome-compensated = Compensated
outcome-stuck = Stuck
outcome-paused = Paused
outcome-interrupted = Interrupted
recap-about = in { $took } · { $plan } · run { $run }
recap-succeeded = Everything was done.
recap-warned = What was deployed is in service; something that does not undo it failed.
recap-compensated = What had been done was undone: things are as they were before.
recap-compensated-but = What had been done was undone, except what was left as it is: look at it.
recap-stuck = Something could not be undone, and needs a person. What depends on it was left untouched.
recap-paused = A person is asked something; nothing new is started until then.
recap-interrupted-undoing = Stopped while it was being undone; nothing is lost. It can go on from here.
recap-interrupted = Stopped halfway; nothing is lost, and nothing was undone. It can go on from here.
down-so-far = { $downtime } so far, and it does not answer
down-still = it does not answer
recap-more = … and { $n } more
recap-downtime = Service down: { $downtime }
row-done = done
row-skipped = skipped
row-warned = warned
row-compensated = compensated
row-written-off = left as is
row-failed = failed
row-unknown = unknown
row-not-run = not run
row-owed = still owed
row-asked = asked about
next-commands = { $n ->
    [one] Next command:
   *[other] Next command, one of:
}

## Status and history
run-state-running = running
run-state-settled = settled
status-plan = plan
status-started = started
status-pid = process
status-downtime = downtime
status-owed = still owed
status-questions = asked about
status-owes = (still to be undone)
runs-none = no runs yet
runs-run = run
runs-state = state
runs-took = took
runs-user = by

## The report
report-title = { $plan } · run { $run }
report-version = almaplan
report-about = Made at { $at } ({ $zone }), on the clock of whoever made it.
report-downtime = While the service was down
report-not-measured = The plan does not measure a service: it has no [measure].
report-never-down = The measured service was not seen down.
report-outage = { $from } – { $to }: down for { $took }
report-outage-open = since { $from }: it does not answer; { $took } so far
report-step = step
report-what = what
report-when = when
report-began = began
report-inside = inside
report-share = share
report-idle = no step was live
report-interrupted = nothing on record: the run was interrupted
report-side-by-side = Of each step only what lies inside counts; what ran side by side counts for each, so the shares may add up to more than 100%.
report-undo-of = undo: { $kind }
report-finally-of = finally: { $kind }
report-timeline = Timeline
report-steps = Steps
report-attempts = attempts
report-state = state
report-graph = Graph
report-logs = Logs
report-nothing-printed = No step printed anything.
report-left-out = The first { $size } are left out: almaplan logs { $run } { $step } shows all.
report-span = { $from } – { $to } ({ $took })
report-mark-down = service down
report-mark-gap = interrupted: no process had the run
report-mark-short = drawn shorter than it was; nothing began or ended in it

## Questions
confirm-abort = stop run { $run } of { $plan } and undo what it did? [y/N]
confirm-rollback = undo run { $run } of { $plan }, which succeeded? [y/N]

## Plans
check-valid = { $file } is valid
graph-pivot = pivot
graph-irreversible = irreversible
graph-finally = finally

## Kinds
kind-inputs = Inputs (with)
kind-outputs = Outputs
kind-defaults = Defaults
kind-nothing = none
kind-required = required
kind-optional = optional
kind-default = default: { $value }
kind-effect = effect
kind-observes = only looks; nothing to compensate
kind-changes = changes what survives a reboot
kind-volatile = changes what a reboot takes away
kind-timeout = timeout of each attempt
kind-no-timeout = none
kind-on-interrupt = when interrupted
kind-rerun = is run again
kind-ask = a person is asked
kind-compensate = is undone
type-string = text
type-integer = integer
type-number = number
type-boolean = true or false
type-list = list ({ $of })
type-table = table
type-duration = duration ("30s", "15m")
type-bytes = size ("500MiB", "2GB")
type-any = anything

## What is refused
error = error:
hint = hint:
refused-internal = { $error }
    .hint = this is a bug, or the machine failed; ALMAPLAN_LOG=debug shows more
refused-usage = { $error }
refused-plan-unreadable = the plan { $file } could not be read: { $error }
refused-plan-invalid = the plan { $file } has mistakes; nothing was touched
    .hint = almaplan check { $file } shows them
refused-bad-variable = { $error }
    .hint = only variables that [vars] declares can be given, with a value of the same type
refused-secret-missing = the secret { $secret } could not be had: { $error }; nothing was touched
    .hint = provide it where [secrets] says, then run the same command again
refused-held = run { $run } is going on and holds { $lock } (process { $pid }, { $user }); nothing was touched
    .hint = almaplan status { $run } shows where it stands; --lock-timeout waits for it
refused-unsettled = run { $run } of { $user } on { $lock } is not settled ({ $state }); nothing was touched
    .hint = go on with it first: { $next }
refused-state-gone = run { $run } is not settled, and its state is gone: there is none in { $folder }; nothing was touched
    .hint = bring that folder back (a drive that is not there, a copy) and go on; if it is gone for good, put right by hand what the run left, then remove { $record }
refused-journal-damaged = the journal { $file } is damaged: { $error }; nothing was touched
    .hint = keep the file as it is, and restore it from a copy; it is never repaired by guessing
refused-journal-newer = the journal { $file } has format { $version }, and this almaplan reads up to { $known }: a newer one wrote it; nothing was touched
    .hint = install the newer almaplan, and run the same command again
refused-needs-yes = there is no terminal to ask on; nothing was touched
    .hint = { $command } --yes
refused-not-confirmed = not confirmed; nothing was touched
    .hint = { $command } asks again
refused-no-run = there is no such run to go on with
    .hint = almaplan runs shows all; --state-dir says where they are
refused-unknown-run = there is no run { $run }
    .hint = almaplan runs shows all; --state-dir says where they are
refused-many-runs = several runs could be meant: { $runs }
    .hint = say which one
refused-already-settled = run { $run } is settled already: { $outcome }
    .hint = almaplan status { $run } shows what became of it
refused-unknown-step = run { $run } has no step { $step }
    .hint = almaplan status { $run } shows its steps
refused-not-asked = nothing is asked about step { $step } of run { $run }
    .hint = almaplan status { $run } shows what is asked
refused-irreversible = run { $run } cannot be undone: step { $step } is irreversible and ran
refused-newer-run = run { $run } cannot be undone: run { $newer } stands on top of it
    .hint = undo the newer one first: almaplan rollback { $newer }
refused-nothing-to-roll-back = run { $run } did not succeed ({ $outcome }): there is nothing to roll back
refused-unknown-kind = there is no kind { $kind }
    .hint = almaplan steps shows all
refused-state-unusable = the folder { $folder } could not be used: { $error }
    .hint = put that right, then run the same command again; almaplan status shows whether a run was interrupted
refused-disk-full = no space is left on the disk of { $folder }: { $error }
    .hint = make room on that disk, then run the same command again; a run that was interrupted goes on with almaplan resume
refused-state-on-network = the folder { $folder } is on a network share, where locks and syncs cannot be trusted
    .hint = choose a local folder with --state-dir
refused-file-unwritable = the file { $file } could not be written: { $error }; what was there is untouched
    .hint = name a file in a folder that exists and that you may write to

## Notices
report-written = the report is in { $file }
nothing-to-resume = there is no run to go on with
nothing-to-abort = there is no run to abort
abort-asked = asked the process that has run { $run } to undo it; waiting
resolve-told = told the process that has run { $run }
resolve-kept = noted for step { $step } of run { $run }
next-command = next command: { $command }
plan-edited = the plan { $file } was edited since the run was started; the run goes on with its own copy
