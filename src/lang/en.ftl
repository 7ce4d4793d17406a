# What people read, in English. The same messages with the same arguments are in pt-BR.ftl; a test compares them.

## Units and numbers
decimal-separator = .
approximately = about { $duration }
progress-of = { $done } of { $total }
unit-files = { $n ->
    [0] no files
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
ctrl-c-while-down = The service is down. Enter: go on · u: undo · s: stop like this
stopping = stopping: live steps have { $grace } to end; Ctrl-C again ends them at once
live = LIVE: the new version is in service
live-not-answering = the new version is in place, but the service does not answer
pivot-passed = the pivot is passed: from here on no failure undoes anything
live-without-downtime = LIVE: the new version is in service; the service was never down
live-after = LIVE: the new version is in service; the service was down for { $downtime }
screen-run = { $plan }   run { $run }
screen-resumed = { $plan }   going on with run { $run }
screen-down = down
screen-up = up again
screen-up-after = up again, after { $duration }
undoing = undoing

## The alarm
alert = ALERT
unwinding-because = failed: { $step }; what was done is being undone
unwinding-nothing = failed: { $step }; nothing had been changed yet
unwinding-not-owed = failed: { $step }; nothing of what was done has to be undone
unwinding-asked-nothing = stopped as asked; nothing has to be undone
unwinding-asked = as asked, what was done is being undone

## What a step came to, in a few words
summary-changed = { $n ->
    [one] { $n } changed
   *[other] { $n } changed
}
summary-added = { $n ->
    [one] { $n } new
   *[other] { $n } new
}
summary-deleted = { $n ->
    [one] { $n } deleted
   *[other] { $n } deleted
}
summary-removed = { $n ->
    [0] nothing to remove
    [one] { $n } removed
   *[other] { $n } removed
}
summary-lines = { $n ->
    [one] { $n } line
   *[other] { $n } lines
}
summary-same-files = the same files
summary-environment-new = a new environment
summary-environment-same = the same as before
summary-forced = killed
summary-ready = in { $duration }
summary-peaks = at most { $cpu } % of CPU and { $memory }

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
outcome-done = Done
outcome-unchanged = Nothing changed
outcome-compensated = Failed and undone
outcome-nothing-changed = Failed without changing anything
outcome-failed = Failed before the switch
outcome-aborted = Aborted by a person
outcome-rolled-back = Rolled back by a person
outcome-stuck = Stuck
outcome-paused = Paused
outcome-interrupted = Interrupted
recap-about = { $plan } · run { $run }
recap-unchanged = The version is the one that was in service already: nothing was stopped or switched.
recap-nothing-changed = Nothing had been changed.
recap-nothing-owed = Nothing of what had been done has to be undone.
recap-compensated-but = What had been done was undone, except what was left as it is: look at it.
recap-stuck = Something could not be undone, and needs a person. What depends on it was left untouched.
recap-paused = A person is asked something; nothing new is started until then.
recap-interrupted-undoing = Stopped while it was being undone; nothing is lost. It can go on from here.
recap-interrupted = Stopped halfway; nothing is lost, and nothing was undone. It can go on from here.
down-so-far = { $downtime } so far, and it does not answer
down-still = it does not answer
recap-more = … and { $n } more
recap-down-so-far = down for { $downtime } so far
recap-downtime = { $downtime } down
row-warned = warned
row-written-off = left as is
row-by-hand = done by hand
closed-by = { $by }
row-failed = cause
row-unknown = unknown
row-owed = still owed
row-failed-folder = failed version
row-backup = backup
row-logs = logs
row-again = next
recap-again = put the cause right, then run the same `almaplan apply` again
row-asked = asked about
next-commands = { $n ->
    [one] Next command:
   *[other] Next command, one of:
}
means-goes-on = goes on where it was stopped
means-goes-on-undoing = goes on undoing it
means-tries-again = tries again what could not be undone: first put right what kept it from working
means-asks-again = looks again, and asks again about what does not tell
means-undoes = undoes what it did
means-was-done = you looked, and its work was done: what needs it goes on
means-was-not-done = you looked, and its work was not done: it is done now
means-allows = yes: the run goes on
means-forbids = no: the step fails
means-frees = frees the target after it has asked; what that run left undone stays as it is, and nobody undoes it any more
means-done-by-hand = you did by hand what could not be undone: the rest is undone
means-ends-early = stops it, and it counts as done: the new version stays in any case
means-left-as-it-is = it stays as it is for good, and is listed: the rest is undone

## Who serves
headline = { $outcome }: { $who }
serves = { $version } serves
serves-nothing = nothing serves, the service does not answer
serves-unclear = the service answers, and it is not certain with which version
serves-now = { $version } serves, and answers now
served-then = { $version } serves; it answered when the run ended
serves-nothing-now = nothing serves now: { $why }
served-nothing-then = nothing served when the run ended: { $why }
serves-another = what serves is another, newer run's: { $run }
version-new = the new version
version-old = the version before
version-same = the same version as before
version-unclear = nobody knows which version
version-of-run = the version of run { $run }
wrong-no-answer = { $url } did not answer
wrong-status = { $url } answered { $status }
wrong-content = { $url } answered without the text that it should have
state-not-answering = { $state }, service not answering

## Status and history
run-state-running = running
run-state-settled = settled
status-plan = plan
status-started = started
status-pid = process
status-serves = serves
status-downtime = downtime
status-owed = still owed
status-by-hand = done by hand
status-written-off = left as is
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

## What a run would do
preview-step = { $step }: { $verdict }
preview-would-run = would run
preview-up-to-date = up to date
preview-skipped = skipped: its condition does not hold ({ $why })
preview-cannot-tell = cannot tell: it depends on { $why }
preview-would-fail = would fail
preview-missing = known once the steps before it ran: { $outputs }
preview-after = what exactly is known once this ran: { $step }
preview-version-now = { $version } now
preview-if-it-fails = If it fails
preview-fails-in = in { $from }
preview-fails-from = from { $from } to { $until }
preview-undoes = undoes, in this order: { $steps }
preview-undoes-nothing = there is nothing to undo
preview-undoes-warning = nothing is undone: it is a warning
preview-downtime-last = The service was down for { $last } in the last run.
preview-downtime = The service was down for { $last } in the last run, and for { $least } to { $most } in the last { $runs }.
preview-changes-nothing = Nothing that is in service would change.
preview-nothing-was-changed = This was a preview: nothing was changed. Programs that steps run may do more than is told here.
preview-run-going-on = run { $run } of { $user } is going on here: apply would be refused
preview-run-unsettled = run { $run } of { $user } is not settled here: apply would be refused until it is
preview-target-held = another run holds this target: apply would be refused
preview-files = { $added } new, { $changed } changed, { $deleted } deleted; { $bytes } to copy
preview-files-added = new: { $names }{ $more ->
    [0] {""}
   *[other] {" "}and { $more } more
}
preview-files-changed = changed: { $names }{ $more ->
    [0] {""}
   *[other] {" "}and { $more } more
}
preview-files-deleted = deleted: { $names }{ $more ->
    [0] {""}
   *[other] {" "}and { $more } more
}
preview-files-not-counted = not counted: what is written there first by { $steps }
preview-files-moved = { $moved } put in place, { $deleted } deleted
preview-runs = { $command }
preview-printed = { $line }
preview-starts = { $command }, on port { $port }
preview-stops = process { $pid }, running for { $age }: { $command }
preview-comes-back = it could be started again as it runs now
preview-nobody = nobody listens on port { $port }
preview-saves = { $files ->
    [one] 1 file, { $bytes }
   *[other] { $files } files, { $bytes }
}
preview-free = { $bytes } free in { $folder }
preview-all-there = all that it looks for is there
preview-writing-untried = whether folders can be written was not tried
preview-environment-there = the environment is there: { $folder }
preview-environment-made = a new environment would be made
preview-packages-new = new packages: { $names }
preview-packages-changed = packages of other versions: { $names }
preview-files-same = the same files
preview-finally = In the end, whatever becomes of it: { $steps }
preview-never-down = The service was not down in the last run.

## Questions
confirm-abort = stop run { $run } of { $plan } and undo what it did? [y/N]
confirm-rollback = undo run { $run } of { $plan }, which succeeded? [y/N]
confirm-unlock = free { $lock }? What that run left undone stays as it is, and nobody undoes it any more. [y/N]

## Plans
check-valid = { $file } is valid
graph-pivot = pivot
graph-irreversible = irreversible
graph-finally = finally

## Whose part of a plan: by itself, after "of", after "in"
owner-plan = the plan
    .of = of the plan
    .in = in the plan
owner-section = `[{ $name }]`
    .of = of `[{ $name }]`
    .in = in `[{ $name }]`
owner-secret = secret `{ $name }`
    .of = of secret `{ $name }`
    .in = in secret `{ $name }`
owner-var = variable `{ $name }`
    .of = of variable `{ $name }`
    .in = in variable `{ $name }`
owner-step = step `{ $name }`
    .of = of step `{ $name }`
    .in = in step `{ $name }`
owner-finally = `finally` step `{ $name }`
    .of = of `finally` step `{ $name }`
    .in = in `finally` step `{ $name }`
owner-compensation = the compensation of `{ $name }`
    .of = of the compensation of `{ $name }`
    .in = in the compensation of `{ $name }`
owner-probe = the probe of `{ $name }`
    .of = of the probe of `{ $name }`
    .in = in the probe of `{ $name }`
place-field = `{ $field }` { $of }
    .of = of `{ $field }` { $of }
    .in = in `{ $field }` { $of }

## Lists
list-and = { $first } and { $last }
list-or = { $first } or { $last }
list-and-more = { $first } and { $n } more
list-or-more = { $first } or { $n } more

## What a value is, or should be
value-text = a text
value-integer = an integer
value-number = a number
value-boolean = true or false
value-date = a date
value-list = a list
value-table = a table
value-nothing = nothing
value-duration = a duration
value-size = a size
value-var = a text, a number, a boolean or a list of these
value-secret-source = a table like `{"{"} env = "NAME" {"}"}` or `{"{"} file = "…" {"}"}`
value-compensation = "none", a table with `uses`, or a list of such tables
value-tables = a list of tables
value-statuses = a status, or a list of them
value-choices = a list of texts, numbers or booleans, with one at least
value-step-names = a list of names of steps
value-of-reference = `{ $reference }`, which is { $types }
value-large-number = so large a number
value-endless-number = an endless number
bounds-at-least = at least { $least }
bounds-at-most = at most { $most }
bounds-from-to = from { $least } to { $most }
bounds-at-most-years = at most { $years } years
bounds-longer-than-nothing = longer than nothing

## Why a template cannot be read
fault-not-plain = it must be plain text here
fault-braces = it is an expression, written without `{"{{"}` and `{"}}"}`
fault-names-a-value = it gives a name to a value, and templates name nothing but what they loop over
fault-vague = `{ $name }` must be followed by the name of what is meant
fault-no-filter = there is no filter `{ $name }`
fault-no-test = there is no test `{ $name }`
fault-no-function = there is no function `{ $name }`
fault-parser = { $detail }

## When something is null
null-secret-not-set = the secret is not set
null-not-that-far = `{ $step }` did not get that far
null-not-succeeded = `{ $step }` did not run or did not succeed
null-skipped = `{ $step }` is skipped
null-failed = `{ $step }` fails

## Mistakes in a plan, and what to do about each
hint-meant = did you mean `{ $name }`?
hint-has = it has { $names }
hint-can-be = it can be { $names }
hint-plan-name = runs, locks and history go by it: `[plan]`, `name = "…"`
hint-measured = `url = "…"`, or `checks = [{"{"} url = "…", status = 200 {"}"}]`
hint-uses = name the kind of step: `uses = "…"`; `almaplan steps` lists them
hint-input = `almaplan steps { $kind }` tells what each input is
hint-duration = write it like "30s" or "15m"
mistake-syntax = the file is no TOML: { $detail }
mistake-file-too-large = the file has more than { $mib } MiB, which no plan needs
mistake-too-deep = { $place } has more than { $levels } levels, which no plan needs
mistake-template-too-long = the template { $in } has more than { $parts } parts, which no plan needs
mistake-format-missing = the plan does not say its `format`
    .hint = put `format = 1` at the top of the file
mistake-format-unknown = this version knows `format = 1`, and the plan has { $found }
    .hint = put `format = 1` at the top of the file
mistake-unknown-key = { $place } has no key `{ $key }`
mistake-missing-key = { $place } lacks `{ $key }`
mistake-wrong-type = { $place } must be { $expected }, and is { $found }
mistake-unknown-kind = there is no kind `{ $kind }`
    .hint = `almaplan steps` lists the kinds
mistake-unknown-choice = { $place } cannot be `{ $value }`
mistake-no-duration = { $place } is no duration: `{ $value }`
    .hint = write it like "30s" or "15m"
mistake-no-size = { $place } is no size: `{ $value }`
    .hint = write it like "500MiB" or "2GB"
mistake-out-of-range = { $place } is { $value }, and must be { $bounds }
mistake-refused = { $place } is refused: { $detail }
mistake-bad-name-plan = `{ $name }` cannot be the name of a plan
    .hint = it has neither templates nor characters that cannot be seen
mistake-bad-name-variable = `{ $name }` cannot be the name of a variable
    .hint = letters, digits and `_` make a name, and it does not start with a digit
mistake-bad-name-secret = `{ $name }` cannot be the name of a secret
    .hint = letters, digits and `_` make a name, and it does not start with a digit
mistake-bad-name-step = `{ $name }` cannot be the name of a step
    .hint = letters, digits, `_` and `-` make a name
mistake-same-name = `{ $name }` is the name of a step and of a `finally` step
mistake-no-steps = the plan has no steps
    .hint = a step is a table like `[steps.backup]` with a `uses`
mistake-need-elsewhere = { $owner } needs `{ $needed }`, which is not among these steps
    .hint = steps need steps, and `finally` steps need `finally` steps
mistake-unknown-need = { $owner } needs `{ $needed }`, which the plan does not have
mistake-double-need = { $owner } needs `{ $needed }` twice
mistake-needs-itself = { $owner } needs itself
    .hint = take one of these out
mistake-cycle = these steps need each other: { $cycle }
    .hint = take one of these out
mistake-template = the template { $in } cannot be read: { $why }
mistake-unknown-name = the template { $in } uses `{ $name }`, which nothing defines
    .hint = templates know `vars`, `steps`, `secrets`, `env`, `run` and `plan`; a text is written '{ $name }', in quotes
mistake-unknown-var = { $place } refers to the variable `{ $name }`, which the plan does not have
mistake-unknown-secret = { $place } refers to the secret `{ $name }`, which the plan does not have
mistake-unknown-step = { $place } refers to the step `{ $name }`, which the plan does not have
mistake-finally-step = { $place } refers to the step `{ $name }`, which is a `finally` step: nothing can use what it leaves
mistake-unknown-output = { $place } refers to `{ $output }` of step `{ $step }`, which `{ $kind }` does not leave
mistake-vague = { $place } refers to `{ $name }` without saying which part of it
    .hint = name it: `{ $name }.name`
mistake-vague-step = { $place } refers to `{ $name }` without saying which part of it
    .hint = name the output: `{ $name }.output`; a step whose name has a `-` is written `steps["a-b"].output`
mistake-before-the-run = { $place } cannot refer to `{ $name }`: it is needed before the run; `vars`, `env` and `plan` are known there
mistake-outcome-before-finally = { $place } cannot refer to `{ $name }`: the outcome is known in `finally` only
mistake-own-output = { $place } cannot refer to `{ $name }`: its own outputs are there only once it is done
mistake-secret-in-env = { $place } refers to `env.{ $name }`, which looks like a secret
    .hint = take it through `[secrets]`, which masks it: `{ $lower } = {"{"} env = "{ $name }" {"}"}`
mistake-may-be-null = { $place } cannot do without `{ $reference }`, which is null when { $when }
    .hint = say what to use instead: `{"{{"} { $reference } | default("…") {"}}"}`, or let the step be skipped too, with `when`
mistake-not-before = { $place } refers to the step `{ $step }`, which need not have run by then
    .hint = let `{ $owner }` need `{ $step }`
mistake-var-cycle = variables refer to each other in a circle: { $cycle }
    .hint = take one of these out
mistake-unknown-filter = the template { $in } uses the filter `{ $name }`, which does not exist
mistake-unknown-test = the template { $in } uses the test `{ $name }`, which does not exist
mistake-unknown-function = the template { $in } uses the function `{ $name }`, which does not exist
mistake-several-pivots = the plan has more than one pivot
    .hint = keep the one that makes the new version count
mistake-beside-pivot = { $n ->
        [one] { $steps } runs beside the pivot `{ $pivot }`
       *[other] { $steps } run beside the pivot `{ $pivot }`
    }
    .hint = let the pivot need them, or let them need the pivot
mistake-irreversible-without-pivot = step `{ $step }` is irreversible in a plan without a pivot
    .hint = say which step is the point of no return: `pivot = true`
mistake-irreversible-early = step `{ $step }` is irreversible but does not come after the pivot `{ $pivot }`
    .hint = what cannot be undone must come after everything that may fail
mistake-irreversible-compensated = step `{ $step }` is irreversible and says how it is compensated
    .hint = keep one of the two
mistake-undeclared = step `{ $step }` changes things and does not say how that is made up for
    .hint = add `compensate`, or say that there is nothing to make up for: `compensate = "none"`
mistake-secret-source = secret `{ $name }` must come from exactly one of `env` and `file`
mistake-no-value-here = variable `{ $name }` has no value for { $system }
mistake-unrepresentable = { $place } cannot be { $what }
mistake-date = { $place } cannot be { $what }
    .hint = put it in quotes
mistake-not-in-finally = { $owner } cannot have `{ $key }`
    .hint = `finally` steps run after the outcome and are never undone
mistake-blank = { $place } is empty
mistake-untold = there are more mistakes than these
    .hint = put those right that are told, and check again
mistake-unrenderable = the template { $in } gives nothing with these values: { $why }
given-by = value:
related-needs = `{ $step }` needs `{ $needed }`
related-variable = { $name }
related-same-name = the step
related-first-need = the first time
related-first-pivot = the first one
related-used = used here
related-beside = neither before nor after it

## What is wrong with the values of variables
var-unknown = the plan has no variable `{ $name }`
var-unknown-like = the plan has no variable `{ $name }`; did you mean `{ $suggestion }`?
var-type = variable `{ $name }` is { $expected } in the plan, and `{ $given }` is none
var-not-one-of = variable `{ $name }` cannot be `{ $value }`; it can be { $choices }
var-not-one-of-like = variable `{ $name }` cannot be `{ $value }`; did you mean `{ $suggestion }`?
var-given = { $error } ({ $source })
var-template = variable `{ $name }`: { $why }
var-not-here = variable `{ $name }` refers to `{ $reference }`; variables may refer to `vars`, `env` and `plan` only
var-secret = variable `{ $name }` refers to `env.{ $env }`, which looks like a secret; take it through `[secrets]`, which masks it
template-unreadable = could not read `{ $template }`: { $why }
template-undefined = `{ $template }` needs `{ $name }`, which is not defined
template-null = `{ $template }` needs `{ $name }`, which is null; say what to use instead with `| default("…")`
template-too-much = `{ $template }` does more work than a template may
template-failed = could not render `{ $template }`: { $why }
unfit-number = the number is too large
unfit-list = the list cannot be read
unfit-table = the table cannot be read
unfit-name = a table has a name that is no text
unfit-undefined = something in it is not defined
unfit-value = what it gives is no value that an input can hold
values-no-toml = { $file } is no TOML (line { $line }, column { $column }): { $detail }
values-unreadable = { $file }: { $detail }

## What the system says of a file
file-not-found = there is no such file or folder
file-denied = you may not do that with it
file-is-folder = it is a folder
file-other = { $detail }
file-at = { $path }: { $error }

## A command line that cannot be understood. English comes from clap, but for what is not clap's.
usage-unknown-command = there is no command { $name }
usage-unknown-argument = { $arg } is not expected here
usage-missing = missing: { $arg }
usage-conflict = { $arg } and { $prior } do not go together
usage-no-value = { $arg } needs a value
usage-not-one-of = { $arg } does not take { $value }; it takes: { $taken }
usage-bad-value = { $arg } does not take { $value }: { $reason }
usage-too-many = { $arg } has another number of values than it takes
usage-no-assignment = write it as NAME=VALUE
usage-no-duration = write it like 30s or 5m
usage-no-name = no such name can exist, as it holds a path separator, a colon or a leading dot
usage-no-url-path = it begins with /
usage-no-number = it is no number that fits
usage-id-characters = an id has letters, digits, - and _, and begins with a letter or a digit
usage-id-long = an id is not that long
usage-id-reserved = this name means something else already
usage-output-not-done = --output is for a step that was done: what was not done left nothing
usage-meant = was { $names } meant?
usage-options = [OPTIONS]
usage-more = almaplan --help tells more

## Why a secret, the state or the machine's folder cannot be used
secret-of-env = environment variable { $name }: { $reason }
secret-of-file = file { $file }: { $reason }
secret-not-set = no value
secret-too-short = fewer than { $least } characters, which could not be hidden in what is shown
distrust-foreign = { $path } belongs to { $owner }
distrust-writable = { $path } can be changed by others (chmod go-w { $path })
distrust-not-a = { $path } is no { $wanted ->
        [folder] folder
       *[other] regular file
    }
distrust-io = { $path } could not be looked at: { $error }
damage = { $what }
damage-of-run = run { $run }: { $what }
damage-of-event = event { $seq } of run { $run }: { $what }
damage-not-ours = it is no state of almaplan
lock-on-share = it is on a network share, whose locks cannot be trusted
lock-record-damaged = the record { $file } of an unsettled run is damaged: { $what }

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
refused-occupied = user { $user } has a run on { $lock } ({ $pid ->
        [none] not settled
       *[other] process { $pid }
    }); nothing was touched
    .hint = { $pid ->
        [none] ask { $user } to settle it: nobody else can go on with it
       *[other] --lock-timeout waits for it; { $user } or an administrator can end that process
    }
refused-not-ours = { $error }, so what is there is not believed; nothing was opened and nothing was touched
    .hint = run this as the user whose it is, or name a folder of your own with --state-dir
refused-unsettled = run { $run } of { $user } on { $lock } is not settled ({ $state }); nothing was touched
    .hint = { $known ->
        [no] only { $user } can look into its state, and go on with it ({ $next }): ask them, or root
       *[yes] go on with it first: { $next }
    }
refused-state-gone = run { $run } is not settled, and its state is gone: there is none in { $folder }; nothing was touched
    .hint = bring that folder back (a drive that is not there, a copy) and go on; if it is gone for good, put right by hand what the run left, then free the target
refused-run-unreadable = run { $run } on { $lock } is not settled, and this almaplan cannot read it: { $error }; nothing was touched
    .hint = go on with the almaplan that began it; if that cannot be, put right by hand what the run left, then free the target
refused-foreign-record = the unsettled run on record in { $file } is of { $user }; nothing was touched
    .hint = ask { $user }, or root
refused-many-locks = several targets could be meant: { $locks }
    .hint = say which one
refused-journal-damaged = the journal { $file } is damaged: { $error }; nothing was touched
    .hint = keep the file as it is, and restore it from a copy; it is never repaired by guessing. If there is none, put its folder aside, put right by hand what the run left, then free the target with almaplan unlock
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
refused-other-plan = run { $run } is one of another plan, { $plan }; nothing was touched
    .hint = choose another id
refused-already-settled = run { $run } is settled already: { $outcome }
    .hint = almaplan status { $run } shows what became of it
refused-unknown-step = run { $run } has no step { $step }
    .hint = almaplan status { $run } shows its steps
refused-not-asked = nothing is asked about step { $step } of run { $run }
    .hint = almaplan status { $run } shows what is asked
refused-not-owed = step { $step } of run { $run } owes nothing that could be done by hand or written off; nothing was touched
    .hint = almaplan status { $run } shows what is owed
refused-already-answered = step { $step } of run { $run } has an answer already, which counts
    .hint = almaplan status { $run } shows what became of it
refused-irreversible = run { $run } cannot be undone: step { $step } is irreversible and ran
refused-newer-run = run { $run } cannot be undone: run { $newer } stands on top of it
    .hint = undo the newer one first: almaplan rollback { $newer }
refused-nothing-to-roll-back = run { $run } did not succeed ({ $outcome }): there is nothing to roll back
refused-unknown-kind = there is no kind { $kind }
    .hint = almaplan steps shows all
refused-too-few-files = a run needs at least { $count } files open at the same time, and this process may not open as many: { $error }
    .hint = raise the limit (ulimit -n 1024; LimitNOFILE of a unit), then run the same command again; nothing was begun
refused-unknown-code = there is no code { $code }
    .hint = almaplan explain lists all: those of mistakes in plans (ALM0007), and the exit codes (3)
refused-state-unusable = the folder { $folder } could not be used: { $error }
    .hint = put that right, then run the same command again; almaplan status shows whether a run was interrupted
refused-disk-full = no space is left on the disk of { $folder }: { $error }
    .hint = make room on that disk, then run the same command again; a run that was interrupted goes on with almaplan resume
refused-state-on-network = the folder { $folder } is on a network share, where locks and syncs cannot be trusted
    .hint = choose a local folder with --state-dir
refused-file-unwritable = the file { $file } could not be written: { $error }; what was there is untouched
    .hint = name a file in a folder that exists and that you may write to
refused-already-there = { $file } is there already; nothing was written
    .hint = keep it (`almaplan check` tells whether it is valid), or give it another name first
refused-no-application = no application was recognized in { $folder }; nothing was written
    .hint = name its folder, or say what starts it: `almaplan init --template NAME` (`almaplan init --help` lists the names)
refused-path-no-text = the path { $file } is no Unicode text, and cannot be written in a plan; nothing was written
    .hint = give the folder another name

## Notices
state-not-ours = { $error }: the state there is not looked at
report-written = the report is in { $file }
nothing-to-resume = there is no run to go on with
attached = run { $run } is going on (process { $pid }): nothing is begun, it is shown from here
already-run = run { $run } is over: nothing is begun
nothing-to-abort = there is no run to abort
abort-asked = asked the process that has run { $run } to undo it; waiting
resolve-told = told the process that has run { $run }
resolve-kept = noted for step { $step } of run { $run }
nothing-to-unlock = no run is on record for { $lock }: there is nothing to free
unlock-lock = target
unlock-state = state
unlock-why = why
unlock-record-unreadable = the record cannot be read: { $error }
unlock-state-gone = its state is gone: nobody can go on with it
unlock-no-access = its state may not be looked into: nobody can go on with it
unlock-run-unreadable = it cannot be read: { $error }
unlock-over = it is over, or never began
unlocked = { $lock } is free: the next almaplan apply may run. Look first at what the lost run left
plan-edited = the plan { $file } was edited since the run was started; the run goes on with its own copy

## History made shorter
history-pruned = { $removed ->
    [one] 1 run was removed
   *[other] { $removed } runs were removed
} from the history; { $kept ->
    [one] 1 stays
   *[other] { $kept } stay
}

## What a code means
explain-heading-example = Example
explain-heading-way = The way out
explain-heading-codes = Mistakes in plans
explain-heading-exits = Exit codes
explain-exit = exit code { $code }

## init
init-flask = a Flask application
init-fastapi = a FastAPI application
init-django = a Django application
init-node = a Node application
init-static = a static site
init-found = { $folder } has { $what } (as { $file } tells)
init-found-nothing = nothing in { $folder } tells what application it is; the template was given
init-serving = it serves now on port { $port }: { $command } (pid { $pid }), in { $folder }
init-stranger = port { $port } is taken by something else: { $command } (pid { $pid }), in { $folder }; the plan will refuse to stop it
init-value = { "  " }{ $option }  { $value }  ({ $source })
init-given = given
init-from-folder = found
init-answered = answered
init-usual = default
init-entry-unknown = to do: nothing tells what starts it; `{ $entry }` was assumed; correct `start` in the plan
init-no-requirements = to do: make { $file }, with the packages that the application needs
init-missing-package = to do: add { $package } to { $file }
init-compose = { $file } was not looked at: there is no template for containers
init-written = written: { $file }
init-next = next:
init-next-test = a rehearsal
init-ask-template = What starts it (flask-waitress, gunicorn, uvicorn, django, node, static)? [{ $default }]
init-ask-name = Name of the deployment? [{ $default }]
init-ask-production = Folder that serves? [{ $default }]
init-ask-port = Port? [{ $default }]
init-ask-health = Path that must answer 200? [{ $default }]
init-again-template = One of these names, please.
init-again-name = A name, please.
init-again-production = A folder, please.
init-again-port = A number from 1 to 65535, please.
init-again-health = A path that begins with `/`, please.
