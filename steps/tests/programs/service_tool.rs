//! Plays the tool of a system's service manager: as the real ones, it does nothing itself, but hands its arguments on to the manager.
//!
//! That is who listens on the port in the file `manager` of the current folder. It answers with an exit code, a line of complaint,
//! and what is to be printed.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::ExitCode;

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let port: u16 = std::fs::read_to_string("manager")?.parse()?;
    let mut manager = TcpStream::connect(("127.0.0.1", port))?;
    manager.write_all(std::env::args().skip(1).collect::<Vec<_>>().join("\n").as_bytes())?;
    manager.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    manager.read_to_end(&mut answer)?;
    let mut parts = answer.splitn(3, |byte| *byte == b'\n');
    let mut part = || parts.next().ok_or("the manager said too little");
    let (code, complaint, printed) = (part()?, part()?, part()?);
    std::io::stderr().write_all(complaint)?;
    std::io::stdout().write_all(printed)?;
    Ok(ExitCode::from(std::str::from_utf8(code)?.parse::<u8>()?))
}
