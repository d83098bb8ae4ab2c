"""What comes in (…Form) and what goes out (…Card), a module for each noun."""
