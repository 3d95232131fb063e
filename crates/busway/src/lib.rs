//! busway
