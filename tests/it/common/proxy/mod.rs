//! An HTTP proxy between the binary and a real server that does damage on request, by rule, and counts what went through:
//! every fault that a provider, or the way to it, can show. Plain threads and sockets; HTTP/1.1 with connections that are
//! used again, one to the server for each from the client.

mod wire;

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use wire::{Line, Message};

/// What is done to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answered with this status and no body; the server never hears of it.
    Status(u16),
    /// The same with a `Retry-After` of so many seconds.
    StatusAfter(u16, u32),
    /// The connection is closed; the server never hears of it.
    Close,
    /// The server does it, and nobody is told.
    DropAnswer,
    /// The server does it, and half of the answer's body arrives (of an answer without one, half of its head).
    CutAnswer,
    /// The same with so many bytes of the body.
    CutAfter(usize),
    /// Half of the answer's body arrives, and then nothing, with the connection open.
    StallAnswer,
    /// The server does it, and the answer comes so much later.
    Delay(Duration),
    /// The server does it, and all but the beginning of the answer's body comes so much later.
    Slow(Duration),
    /// The server hears of it so much later, whether anybody still waits or not.
    Late(Duration),
    /// The server hears of it once so many requests have been under way at the same time, or when it is clear that they
    /// never will be; and a moment later, in which one more could come that should not.
    Gather(usize),
    /// The server gets another body than was sent: its last byte is another.
    Spoil,
    /// Nothing ever comes back, and the server never hears of it.
    Silence,
    /// The server does it, and the answer is this body, with the server's status.
    Replace(&'static str),
}

/// The way as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Up,
    /// As if the process had ended: connections break, and new ones are refused.
    Ended,
    /// Connections are taken, and nothing is ever answered.
    BlackHole,
    /// Every request gets this fault, and is told apart from what the rules do.
    Every(Fault),
}

/// How long requests wait for others to be under way with them, and for one more than there should be.
const GATHERING: Duration = Duration::from_secs(10);
const A_MOMENT: Duration = Duration::from_millis(100);

/// A request as it was seen, and what became of it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub at: Instant,
    pub method: String,
    /// Path and query.
    pub target: String,
    pub fault: Option<Fault>,
    head: Arc<[u8]>,
}

impl Seen {
    /// What it said in this header.
    pub fn header(&self, name: &str) -> Option<String> {
        wire::header(&self.head, name)
    }

    /// `GET /path?query`, as rules see it.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

type Applies = Box<dyn Fn(&str) -> bool + Send>;

struct Rule {
    applies: Applies,
    /// Requests that it lets go first, and that it then touches.
    skip: usize,
    times: usize,
    fault: Fault,
}

/// The dice of a storm: the same for the same seed.
struct Storm {
    state: u64,
    /// Of ten thousand requests.
    share: u64,
    faults: Vec<Fault>,
}

impl Storm {
    /// SplitMix64.
    ///
    /// # Source
    /// Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
    fn throw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn fault(&mut self) -> Option<Fault> {
        let (hit, which) = (self.throw() % 10_000 < self.share, self.throw());
        let count = u64::try_from(self.faults.len()).unwrap();
        hit.then(|| self.faults[usize::try_from(which % count).unwrap()])
    }
}

#[derive(Default)]
struct State {
    mode: Mode,
    rules: Vec<Rule>,
    storm: Option<Storm>,
    seen: Vec<Seen>,
    /// Of clients, by the number of the connection.
    open: Vec<(usize, TcpStream)>,
}

struct Shared {
    server: String,
    address: SocketAddr,
    state: Mutex<State>,
    is_over: AtomicBool,
    connections: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

/// See the module. It ends when dropped.
pub struct Proxy {
    shared: Arc<Shared>,
}

impl Proxy {
    /// Before the server at this URL.
    pub fn before(server: &str) -> Self {
        let (listener, address) = listen();
        let shared = Arc::new(Shared {
            server: server.trim_start_matches("http://").to_owned(),
            address,
            state: Mutex::default(),
            is_over: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        });
        accept(listener, Arc::clone(&shared));
        Self { shared }
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// The next requests that `applies` is true of (given `GET /path?query`) get this fault: `times` of them, after
    /// `skip` that do not. An earlier rule goes first.
    pub fn inject(
        &self,
        (skip, times): (usize, usize),
        fault: Fault,
        applies: impl Fn(&str) -> bool + Send + 'static,
    ) {
        let rule = Rule {
            applies: Box::new(applies),
            skip,
            times,
            fault,
        };
        self.state().rules.push(rule);
    }

    /// From now on `share` of ten thousand requests get one of these faults, by chance of this seed.
    pub fn storm(&self, seed: u64, share: u64, faults: &[Fault]) {
        self.state().storm = Some(Storm {
            state: seed,
            share,
            faults: faults.to_vec(),
        });
    }

    /// No rule, no storm, and everything up.
    pub fn calm(&self) {
        {
            let mut state = self.state();
            state.rules.clear();
            state.storm = None;
        }
        self.mode(Mode::Up);
    }

    /// From now on.
    pub fn mode(&self, mode: Mode) {
        change(&self.shared, mode);
    }

    /// In this mode from the n-th request on (from 1, of those that `applies` is true of), on a thread of its own.
    pub fn mode_after(&self, mode: Mode, count: usize, applies: impl Fn(&str) -> bool + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        let begin = self.seen().len();
        thread::spawn(move || {
            loop {
                let seen = shared.state.lock().unwrap().seen[begin..]
                    .iter()
                    .filter(|seen| applies(&seen.line()))
                    .count();
                if seen >= count || shared.is_over.load(Ordering::SeqCst) {
                    break change(&shared, mode);
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
    }

    /// All requests so far, in the order that they came.
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// How many of them `applies` is true of.
    pub fn count(&self, applies: impl Fn(&str) -> bool) -> usize {
        self.seen().iter().filter(|seen| applies(&seen.line())).count()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.state().seen.clear();
        self.shared.connections.store(0, Ordering::SeqCst);
        self.shared.most_at_once.store(0, Ordering::SeqCst);
    }

    /// Connections that were taken.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The most requests that were under way at the same time.
    pub fn most_at_once(&self) -> usize {
        self.shared.most_at_once.load(Ordering::SeqCst)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.mode(Mode::Ended);
    }
}

/// On a port outside of the range that the system hands out, so that nobody has it while this proxy plays dead.
fn listen() -> (TcpListener, SocketAddr) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let mut at = std::process::id() as usize * 4;
    loop {
        let port = u16::try_from(10_000 + at % 2_000).unwrap();
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            let address = listener.local_addr().unwrap();
            return (listener, address);
        }
        at += 1 + COUNT.fetch_add(1, Ordering::SeqCst);
    }
}

/// Takes connections until the mode says that the process ended.
fn accept(listener: TcpListener, shared: Arc<Shared>) {
    thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { continue };
            let mode = shared.state.lock().unwrap().mode;
            if mode == Mode::Ended {
                return;
            }
            let number = shared.connections.fetch_add(1, Ordering::SeqCst);
            let kept = client.try_clone().unwrap();
            shared.state.lock().unwrap().open.push((number, kept));
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                serve(&shared, &client);
                let _ = client.shutdown(Shutdown::Both);
                shared
                    .state
                    .lock()
                    .unwrap()
                    .open
                    .retain(|(other, _)| *other != number);
            });
        }
    });
}

fn change(shared: &Arc<Shared>, mode: Mode) {
    let before = {
        let mut state = shared.state.lock().unwrap();
        std::mem::replace(&mut state.mode, mode)
    };
    match (before, mode) {
        (Mode::Ended, Mode::Ended) => {}
        (Mode::Ended, _) => accept(again(shared.address), Arc::clone(shared)),
        (_, Mode::Ended) => {
            // One last connection lets the listener see it, and go.
            drop(TcpStream::connect(shared.address));
            while TcpStream::connect(shared.address).is_ok() {
                thread::sleep(Duration::from_millis(1));
            }
            let open = std::mem::take(&mut shared.state.lock().unwrap().open);
            for (_, client) in open {
                let _ = client.shutdown(Shutdown::Both);
            }
        }
        _ => {}
    }
}

fn again(address: SocketAddr) -> TcpListener {
    loop {
        if let Ok(listener) = TcpListener::bind(address) {
            return listener;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// One client's connection, to its end.
fn serve(shared: &Shared, client: &TcpStream) {
    let mut from = Line::of(client.try_clone().unwrap());
    let mut server = None;
    while let Some(mut request) = from.request() {
        let now = shared.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most_at_once.fetch_max(now, Ordering::SeqCst);
        let goes_on = one(shared, (client, &mut from), &mut server, &mut request);
        shared.at_once.fetch_sub(1, Ordering::SeqCst);
        if !goes_on {
            break;
        }
    }
}

/// One request; whether the connection is still good.
fn one(
    shared: &Shared,
    (mut client, from): (&TcpStream, &mut Line),
    server: &mut Option<Line>,
    request: &mut Message,
) -> bool {
    let fault = decide(shared, request);
    match fault {
        Some(Fault::Close) => return false,
        Some(Fault::Silence) => {
            from.until_closed();
            return false;
        }
        Some(Fault::Status(status)) => return answer(client, status, ""),
        Some(Fault::StatusAfter(status, seconds)) => {
            return answer(client, status, &format!("retry-after: {seconds}\r\n"));
        }
        Some(Fault::Late(delay)) => thread::sleep(delay),
        Some(Fault::Gather(count)) => gathered(shared, count),
        Some(Fault::Spoil) => {
            if let Some(last) = request.body.last_mut() {
                *last ^= 1;
            }
        }
        _ => {}
    }
    let Some(answer) = forwarded(&shared.server, server, request) else {
        return false;
    };
    let (head, body) = (&answer.head, &answer.body);
    let half = if body.is_empty() {
        &head[..head.len() / 2]
    } else {
        match fault {
            Some(Fault::CutAfter(bytes)) => &body[..bytes.min(body.len())],
            _ => &body[..body.len() / 2],
        }
    };
    match fault {
        Some(Fault::DropAnswer) => false,
        Some(Fault::CutAnswer | Fault::CutAfter(_) | Fault::StallAnswer) => {
            if !body.is_empty() {
                let _ = client.write_all(head);
            }
            let _ = client.write_all(half);
            if fault == Some(Fault::StallAnswer) {
                from.until_closed();
            }
            false
        }
        Some(Fault::Slow(pause)) => {
            let (first, rest) = body.split_at(body.len().min(1000));
            let first = client.write_all(&[head, first].concat());
            thread::sleep(pause);
            first.and_then(|()| client.write_all(rest)).is_ok() && !answer.ends_connection
        }
        Some(Fault::Replace(body)) => {
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            client.write_all(head.as_bytes()).is_ok()
        }
        fault => {
            if let Some(Fault::Delay(delay)) = fault {
                thread::sleep(delay);
            }
            client.write_all(&[&head[..], &body[..]].concat()).is_ok() && !answer.ends_connection
        }
    }
}

/// Ends once so many requests have been under way, and a moment later.
fn gathered(shared: &Shared, count: usize) {
    let begun = Instant::now();
    while shared.most_at_once.load(Ordering::SeqCst) < count && begun.elapsed() < GATHERING {
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(A_MOMENT);
}

/// What is done to a request, noted.
fn decide(shared: &Shared, request: &Message) -> Option<Fault> {
    let mut state = shared.state.lock().unwrap();
    let line = format!("{} {}", request.method, request.target);
    let mut fault = match state.mode {
        Mode::Up => None,
        Mode::Ended => Some(Fault::Close),
        Mode::BlackHole => Some(Fault::Silence),
        Mode::Every(fault) => Some(fault),
    };
    if fault.is_none() {
        fault = by_rule(&mut state.rules, &line);
    }
    if fault.is_none() {
        fault = state.storm.as_mut().and_then(Storm::fault);
    }
    state.seen.push(Seen {
        at: Instant::now(),
        method: request.method.clone(),
        target: request.target.clone(),
        fault,
        head: request.head.as_slice().into(),
    });
    fault
}

fn by_rule(rules: &mut [Rule], line: &str) -> Option<Fault> {
    for rule in rules.iter_mut().filter(|rule| (rule.applies)(line)) {
        if rule.skip > 0 {
            rule.skip -= 1;
        } else if rule.times > 0 {
            rule.times -= 1;
            return Some(rule.fault);
        }
    }
    None
}

fn answer(mut client: &TcpStream, status: u16, more: &str) -> bool {
    let head = format!("HTTP/1.1 {status} Injected\r\n{more}content-length: 0\r\n\r\n");
    client.write_all(head.as_bytes()).is_ok()
}

/// The server's answer, over the connection there is or a new one; `None` where none came.
fn forwarded(address: &str, server: &mut Option<Line>, request: &Message) -> Option<Message> {
    // A connection that was idle may have been closed meanwhile.
    if let Some(line) = server.as_mut()
        && let Some(answer) = line.ask(request)
    {
        return Some(answer);
    }
    let line = server.insert(Line::of(TcpStream::connect(address).ok()?));
    line.ask(request)
}
