#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| qpsmtpd::fuzzing::run("milter", input));
