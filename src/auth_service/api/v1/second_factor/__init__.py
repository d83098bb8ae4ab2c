"""Endpoints of second factors: second step of the sign-in, enrolment."""
