"""Tests of second factors through the HTTP interface."""
