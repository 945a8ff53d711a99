"""Train, predict and monitor: each reads like the job it does."""
