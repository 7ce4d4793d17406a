# What the kinds write for people to keep. `pt-BR.ftl` has the same keys.

# Dates and numbers
date-and-time = %Y-%m-%d %H:%M:%S
decimal-separator = .
span-ms = { $ms } ms
span-s = { $s } s
span-min = { $min } min { $s } s
span-h = { $h } h { $min } min

# deploy-log: how the run ended
status-unsettled = In progress
status-succeeded = Success
status-warned = Success (with warnings)
status-rolled-back = Rollback
status-failed = Failure
status-stuck = Failure (rollback incomplete)

# deploy-log: the lines of an entry
entry-run = Run: { $run }
entry-times = Started: { $started }; ended: { $ended }; duration: { $duration }
entry-version = Version: { $version }
entry-version-change = Version: { $version } (before: { $previous })
entry-previous = Version before: { $previous }
entry-downtime = Downtime: { $downtime }
entry-downtime-approximate = Downtime: { $downtime } (approx.)
entry-down = The service does not answer.
entry-aborted = Undone at a person's request.
entry-failed = Failed step: { $step }
entry-error = Error: { $error }
entry-owed = Still to be undone: { $steps }
entry-written-off = Not undone: { $steps }

# approval
approval-how = Answer with `almaplan resolve { $run } { $step } done` or `almaplan resolve { $run } { $step } not-done`.
