//! busway-engine
