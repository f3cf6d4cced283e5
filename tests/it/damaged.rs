//! Bytes that change between here and the provider: whoever notices, nothing of them stays.

mod needs_server {
    use std::fs;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::thread;

    use crate::common::deployment::{Deployment, Run};
    use crate::common::{Remote, TestEnv};

    /// What the wire makes of one byte: neither stands in any header.
    const SENT: u8 = 7;
    const ARRIVES: u8 = 8;

    /// A wire to the server that changes bytes on their way there.
    fn bad_wire(server: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = server.trim_start_matches("http://").to_owned();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
                let (back, forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || {
                    carry(client, server, |byte| if byte == SENT { ARRIVES } else { byte });
                });
                thread::spawn(move || carry(back, forth, |byte| byte));
            }
        });
        format!("http://{address}")
    }

    fn carry(mut from: TcpStream, mut to: TcpStream, change: fn(u8) -> u8) {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            bytes[..count].iter_mut().for_each(|byte| *byte = change(*byte));
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }

    fn nothing_of_it_stays(bucket: &impl Remote, endpoint: &str) {
        let deployment = Deployment::new();
        let direct = bucket.provider_yaml(bucket.kind(), "town");
        let file = deployment.env().tmp().join("file.bin");
        let args = [
            "storage:upload",
            "--json",
            "--folder",
            "permits",
            file.to_str().unwrap(),
        ];
        for size in [2_000, 12_000_000] {
            deployment.providers(&direct.replace(endpoint, &bad_wire(endpoint)));
            fs::write(&file, vec![SENT; size]).unwrap();
            let run = Run::of(deployment.env(), args);
            assert_eq!(run.code, 1, "{size}: {}", run.stdout);
            assert_eq!(
                run.json()["data"]["failed"][0]["errorCode"],
                "STORAGE_ERROR",
                "{}",
                run.stdout
            );
            deployment.providers(&direct);
            let look = deployment.cleanup(&["--dry-run", "--min-age", "0"]);
            assert_eq!(look.code, 0, "{}", look.stdout);
            let seen = &look.json()["data"]["providers"][0];
            assert_eq!(
                (&seen["objectsScanned"], &seen["recordsScanned"]),
                (&0.into(), &0.into()),
                "{size}: {seen}"
            );
        }
        // The same wire carries what it leaves as it is.
        deployment.providers(&direct.replace(endpoint, &bad_wire(endpoint)));
        fs::write(&file, vec![b'x'; 12_000_000]).unwrap();
        let run = Run::of(deployment.env(), args);
        assert_eq!(run.code, 0, "{}", run.stdout);
    }

    #[test]
    fn on_the_way_to_s3() {
        if let Some(bucket) = TestEnv::seaweed() {
            nothing_of_it_stays(&bucket, &bucket.endpoint);
        }
    }

    #[test]
    fn on_the_way_to_azure() {
        if let Some(bucket) = TestEnv::azurite() {
            nothing_of_it_stays(&bucket, &bucket.endpoint);
        }
    }

    #[test]
    fn on_the_way_to_gcs() {
        if let Some(bucket) = TestEnv::gcs() {
            nothing_of_it_stays(&bucket, &bucket.endpoint);
        }
    }
}
