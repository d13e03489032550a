# Readers of Ruby. ../python/worker.py describes the protocol.

require "stringio"
require "timeout"

ABSENT = Object.new

def model_of(data)
  raise TypeError, "no hash" unless data.is_a?(Hash)
  data.fetch("model", ABSENT)
end

def request(type, body)
  {
    "REQUEST_METHOD" => "POST", "CONTENT_TYPE" => type, "CONTENT_LENGTH" => body.bytesize.to_s,
    "QUERY_STRING" => "", "rack.input" => StringIO.new(body), "rack.errors" => StringIO.new,
  }
end

JSON_READERS = {
  "json" => -> { require "json"; ->(_, body) { model_of(JSON.parse(body, max_nesting: false)) } },
  "json load" => -> { require "json"; ->(_, body) { model_of(JSON.load(body)) } },
  "json unicode" => -> { require "json"; ->(_, body) { model_of(JSON.parse(body.dup.force_encoding("UTF-8"))) } },
  "yajl" => -> { require "yajl"; ->(_, body) { model_of(Yajl::Parser.parse(body)) } },
  "oj" => -> { require "oj"; ->(_, body) { model_of(Oj.load(body)) } },
  "oj strict" => -> { require "oj"; ->(_, body) { model_of(Oj.load(body, mode: :strict)) } },
  "oj compat" => -> { require "oj"; ->(_, body) { model_of(Oj.compat_load(body)) } },
  "oj rails" => -> { require "oj"; ->(_, body) { model_of(Oj.load(body, mode: :rails)) } },
  "oj document" => -> { require "oj"; ->(_, body) { Oj::Doc.open(body) { |doc| doc.fetch("/model", ABSENT) } } },
  "oj parser" => -> { require "oj"; ->(_, body) { model_of(Oj::Parser.new(:usual).parse(body)) } },
  "psych" => -> { require "psych"; ->(_, body) { model_of(Psych.safe_load(body.dup.force_encoding("UTF-8"))) } },
  "psych aliases" => -> { require "psych"; ->(_, body) { model_of(Psych.safe_load(body.dup.force_encoding("UTF-8"), aliases: true)) } },
}.freeze

FORM_READERS = {
  "rack" => -> { require "rack"; ->(type, body) { Rack::Request.new(request(type, body)).POST.fetch("model", ABSENT).then { |value| value.is_a?(Hash) ? ABSENT : value } } },
  "cgi" => lambda {
    require "cgi"
    lambda do |type, body|
      ENV.update("REQUEST_METHOD" => "POST", "CONTENT_TYPE" => type, "CONTENT_LENGTH" => body.bytesize.to_s, "QUERY_STRING" => "")
      $stdin = StringIO.new(body)
      values = CGI.new(accept_charset: "ASCII-8BIT").params["model"] || []
      $stdin = STDIN
      value = values.first
      value.nil? ? ABSENT : value.respond_to?(:read) && !value.is_a?(String) ? value.read : value
    end
  },
}.freeze

makers = ARGV[0] == "form" ? FORM_READERS : JSON_READERS
OUTPUT = STDOUT.dup
STDOUT.reopen(STDERR)
[STDIN, OUTPUT].each(&:binmode)

def put(*texts) = OUTPUT.write(texts.map { |text| [text.bytesize].pack("N") + text.b }.join)
def take(length) = STDIN.read(length).then { |data| data && data.bytesize == length ? data : exit }
def number = take(4).unpack1("N")
def field = number.then { |length| length.zero? ? "".b : take(length) }

readers = {}
started = makers.flat_map do |name, make|
  readers[name] = make.call
  [name, ""]
rescue Exception => e
  [name, "#{e.class}: #{e.message}"]
end
OUTPUT.write([makers.size].pack("N"))
put(*started)
OUTPUT.flush
batch = []
loop do
  if take(1) == "B"
    batch = Array.new(number) { [field, field] }
    next
  end
  read = readers.fetch(field)
  first = number
  ends = Process.clock_gettime(Process::CLOCK_MONOTONIC) + number / 1000.0
  outcomes = Array.new(batch.size, "S")
  batch.each_index do |offset|
    at = (first + offset) % batch.size
    outcomes[at] = begin
      value = read.call(*batch[at])
      if value.nil? || value.equal?(ABSENT)
        "A"
      else
        "V".b + (value.is_a?(String) ? value.b : value.inspect.b)
      end
    rescue Exception => e
      "E#{e.class}: #{e.message}".b[0, 200]
    end
    break if Process.clock_gettime(Process::CLOCK_MONOTONIC) > ends
  end
  put(*outcomes)
  OUTPUT.flush
end
