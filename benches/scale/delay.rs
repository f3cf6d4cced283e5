//! A wire of some length to a server: whatever goes through it arrives so many milliseconds later, as much of it at once
//! as there is. Prints where it listens.
//!
//!     delay UPSTREAM MILLISECONDS     half of them each way

use std::io::{self, Write as _};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

/// Chunks on their way in one direction of one connection: enough for gigabits.
const ON_ITS_WAY: usize = 256;
const CHUNK: usize = 64 << 10;

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = || io::Error::other("usage: delay UPSTREAM MILLISECONDS");
    let upstream = arguments.next().ok_or_else(usage)?;
    let milliseconds: u64 = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .ok_or_else(usage)?;
    let one_way = Duration::from_millis(milliseconds) / 2;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout(), "http://{}", listener.local_addr()?)?;
    loop {
        let (client, _) = listener.accept().await?;
        let upstream = upstream.clone();
        tokio::spawn(async move {
            // The handshake takes a round of its own.
            sleep(2 * one_way).await;
            let Ok(server) = TcpStream::connect(&upstream).await else {
                return;
            };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::join!(
                carry(from_client, to_server, one_way),
                carry(from_server, to_client, one_way)
            );
        });
    }
}

/// Carries one direction to its end.
async fn carry(from: OwnedReadHalf, to: OwnedWriteHalf, later: Duration) {
    let (begun, arrives) = mpsc::channel(ON_ITS_WAY);
    tokio::join!(send(from, begun, later), deliver(arrives, to));
}

async fn send(mut from: OwnedReadHalf, begun: mpsc::Sender<(Instant, Vec<u8>)>, later: Duration) {
    loop {
        let mut chunk = vec![0; CHUNK];
        let Ok(count @ 1..) = from.read(&mut chunk).await else {
            return;
        };
        chunk.truncate(count);
        if begun.send((Instant::now() + later, chunk)).await.is_err() {
            return;
        }
    }
}

async fn deliver(mut arrives: mpsc::Receiver<(Instant, Vec<u8>)>, mut to: OwnedWriteHalf) {
    while let Some((at, chunk)) = arrives.recv().await {
        sleep_until(at).await;
        if to.write_all(&chunk).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
