"""One thing spoiled at a time, and the tests that must notice: `make test-mutations`."""
