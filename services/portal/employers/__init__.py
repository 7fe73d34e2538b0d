"""What an employer sees of its employees: what each has said yes to, for as long as she wants."""
