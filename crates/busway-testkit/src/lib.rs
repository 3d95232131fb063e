//! busway-testkit
