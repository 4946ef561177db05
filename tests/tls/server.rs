//! `openssl s_server` on loopback, and certificates made by `openssl`.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A directory with a certificate authority in it.
pub struct Authority {
    dir: tempfile::TempDir,
}

/// A server that ends with this value.
pub struct Server {
    child: Child,
    pub addr: SocketAddr,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let it = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(it.path().join("ca.cnf"), CONFIG).unwrap();
        fs::write(it.path().join("index.txt"), "").unwrap();
        it.openssl("ecparam -name prime256v1 -genkey -noout -out ca.key");
        it.openssl(&format!(
            "req -x509 -config ca.cnf -extensions authority -new -key ca.key -days 30 -subj /CN={name} -out ca.pem"
        ));
        it
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Whom to trust.
    pub fn pem(&self) -> Vec<u8> {
        fs::read(self.path().join("ca.pem")).unwrap()
    }

    /// Makes `<file>.key` and `<file>.pem` for these names, valid between these times (YYMMDDHHMMSSZ).
    pub fn sign(&self, file: &str, names: &str, from: &str, to: &str) {
        self.request(file, names);
        self.openssl(&format!(
            "ca -batch -notext -config ca.cnf -keyfile ca.key -cert ca.pem -in {file}.csr -out {file}.pem -startdate {from} -enddate {to}"
        ));
    }

    /// The same, signed by itself.
    pub fn self_sign(&self, file: &str, names: &str) {
        self.request(file, names);
        self.openssl(&format!(
            "req -x509 -config ca.cnf -extensions server -key {file}.key -in {file}.csr -days 30 -out {file}.pem"
        ));
    }

    /// `openssl s_server` with the certificate of `file` and more arguments. Once it is ready.
    pub fn serve(&self, file: &str, more: &str) -> Server {
        let fixed = format!("s_server -accept 127.0.0.1:0 -cert {file}.pem -key {file}.key {more}");
        let mut child = Command::new("openssl")
            .args(fixed.split_whitespace())
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is there");
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let addr = loop {
            let mut line = String::new();
            assert!(out.read_line(&mut line).unwrap() > 0, "openssl s_server {fixed} ended");
            if let Some(addr) = line.trim().strip_prefix("ACCEPT ") {
                break addr.parse().unwrap();
            }
        };
        // What it says must not fill the pipe.
        std::thread::spawn(move || drop(out.read_to_end(&mut Vec::new())));
        Server { child, addr }
    }

    fn request(&self, file: &str, names: &str) {
        self.openssl(&format!("ecparam -name prime256v1 -genkey -noout -out {file}.key"));
        self.openssl(&format!(
            "req -new -config ca.cnf -key {file}.key -subj /CN={file} -addext subjectAltName={names} -out {file}.csr"
        ));
    }

    fn openssl(&self, args: &str) {
        let output = Command::new("openssl")
            .args(args.split_whitespace())
            .current_dir(self.path())
            .stdin(Stdio::null())
            .output()
            .expect("openssl is there");
        assert!(output.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const CONFIG: &str = "
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[server]
basicConstraints = critical,CA:FALSE
subjectAltName = DNS:localhost
[ca]
default_ca = here
[here]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
";
