"""The loop, the runner, the poller: everything that turns facts into decisions and steps."""
