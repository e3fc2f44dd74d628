"""The bag's lending: loan desk, self-test and window; what the desk says and what each of them asks of the bag."""
