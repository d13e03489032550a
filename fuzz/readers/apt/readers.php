<?php
// Readers of PHP. ../python/worker.py describes the protocol. A form is read by php-cgi, one
// process for each, since PHP parses forms only before a script runs.

error_reporting(0);
ini_set('pcre.jit', '0');
const ABSENT = "\0absent";

function model_of($data) {
    if (is_object($data)) $data = get_object_vars($data);
    if (!is_array($data)) throw new Exception('not an array');
    return $data['model'] ?? ABSENT;
}

$forms = ($argv[1] ?? '') === 'form';
$readers = $forms
    ? ['$_POST' => 'read_form']
    : [
        'json_decode' => fn($type, $body) => model_of(json_decode($body, true, 2000, JSON_THROW_ON_ERROR)),
        'json_decode object' => fn($type, $body) => model_of(json_decode($body, false, 2000, JSON_THROW_ON_ERROR)),
        'json_decode substitute' => fn($type, $body) => model_of(
            json_decode($body, true, 2000, JSON_THROW_ON_ERROR | JSON_INVALID_UTF8_IGNORE | JSON_BIGINT_AS_STRING)),
        'yaml_parse' => fn($type, $body) => model_of(yaml_parse($body)),
    ];

function read_form($type, $body) {
    $environment = [
        'REDIRECT_STATUS' => '1', 'GATEWAY_INTERFACE' => 'CGI/1.1', 'REQUEST_METHOD' => 'POST',
        'SCRIPT_FILENAME' => __DIR__ . '/form.php', 'CONTENT_TYPE' => $type,
        'CONTENT_LENGTH' => strval(strlen($body)), 'PATH' => getenv('PATH'),
    ];
    $pipes = [];
    $spec = [['pipe', 'r'], ['pipe', 'w'], ['file', '/dev/null', 'w']];
    $process = proc_open(['php-cgi', '-n', '-q'], $spec, $pipes, null, $environment);
    fwrite($pipes[0], $body);
    fclose($pipes[0]);
    $output = stream_get_contents($pipes[1]);
    fclose($pipes[1]);
    proc_close($process);
    $data = json_decode(explode("\r\n\r\n", $output, 2)[1] ?? '', true);
    if ($data === null) throw new Exception($output);
    $value = $data['model'] ?? null;
    return $value === null ? ABSENT : (is_string($value) ? base64_decode($value) : json_encode($value));
}

function take($length) {
    $data = '';
    while (strlen($data) < $length) {
        $more = fread(STDIN, $length - strlen($data));
        if ($more === false || $more === '') exit(0);
        $data .= $more;
    }
    return $data;
}

function number() { return unpack('N', take(4))[1]; }
function field() { $length = number(); return $length ? take($length) : ''; }
function put($text) { fwrite(STDOUT, pack('N', strlen($text)) . $text); }

fwrite(STDOUT, pack('N', count($readers)));
foreach ($readers as $name => $_) { put($name); put(''); }
fflush(STDOUT);
$batch = [];
for (;;) {
    if (take(1) === 'B') {
        $batch = [];
        for ($count = number(); $count > 0; $count--) $batch[] = [field(), field()];
        continue;
    }
    $read = $readers[field()];
    $begin = number();
    $end = microtime(true) + number() / 1000;
    $outcomes = array_fill(0, count($batch), 'S');
    for ($offset = 0; $offset < count($batch); $offset++) {
        $at = ($begin + $offset) % count($batch);
        try {
            $value = $read($batch[$at][0], $batch[$at][1]);
            $outcomes[$at] = $value === ABSENT || $value === null ? 'A' : 'V' . (is_string($value) ? $value : json_encode($value));
        } catch (Throwable $error) {
            $outcomes[$at] = 'E' . substr($error->getMessage(), 0, 200);
        }
        if (microtime(true) > $end) break;
    }
    foreach ($outcomes as $outcome) put($outcome);
    fflush(STDOUT);
}
