"""EMREX, both ways: results that learners fetch from here (EMP), and results of elsewhere that they import (client)."""
