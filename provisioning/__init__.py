"""The technician's tools: authority, enrolment, badges, labels."""
