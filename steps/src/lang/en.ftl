# What the kinds write for people to keep. `pt-BR.ftl` has the same keys.

# Dates and numbers
date-and-time = %Y-%m-%d %H:%M:%S
decimal-separator = .

# deploy-log: how the run ended
status-unsettled = In progress
status-succeeded = Success
status-warned = Success (with warnings)
status-unchanged = Nothing changed
status-down = Down
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
entry-serves = Serves: { $version }
entry-serves-new = Serves: the new version
entry-serves-old = Serves: the version before
entry-serves-unclear = The service answers, and it is not certain with which version.
entry-down = Nothing serves: the service does not answer.
entry-aborted = Undone at a person's request, before its end.
entry-rolled-back = Undone at a person's request, after it had succeeded.
entry-nothing-changed = Nothing had been changed.
entry-nothing-owed = Nothing of what had been done has to be undone.
entry-failed = Failed step: { $step }
entry-error = Error: { $error }
entry-owed = Still to be undone: { $steps }
entry-written-off = Not undone: { $steps }

# approval
approval-how = Answer with `almaplan resolve { $run } { $step } done` or `almaplan resolve { $run } { $step } not-done`.
