"""Second factors: second step of a sign-in, enrolment, reset."""
