# Readers of Perl. ../python/worker.py describes the protocol.

use strict;
use warnings;
use Time::HiRes 'time';

local $SIG{__WARN__} = sub { };

sub model_of {
    my $data = shift;
    die "no hash\n" unless ref $data eq 'HASH';
    return $data->{model};
}

sub of_file {
    my ($read) = @_;
    return sub {
        my ($type, $body) = @_;
        open my $input, '<:raw', \$body or die;
        local *STDIN = $input;
        local %ENV = (%ENV, REQUEST_METHOD => 'POST', CONTENT_TYPE => $type,
            CONTENT_LENGTH => length $body, QUERY_STRING => '');
        return $read->($type, $body, $input);
    };
}

sub only { return @_ > 1 ? "@_" : $_[0] }

my %json = (
    'JSON::PP'         => sub { require JSON::PP; my $json = JSON::PP->new->utf8->max_depth(2000); sub { model_of($json->decode($_[1])) } },
    'JSON::PP relaxed' => sub { require JSON::PP; my $json = JSON::PP->new->utf8->relaxed->loose->allow_barekey->allow_singlequote->max_depth(2000); sub { model_of($json->decode($_[1])) } },
    'JSON::XS'         => sub { require JSON::XS; my $json = JSON::XS->new->utf8->max_depth(2000); sub { model_of($json->decode($_[1])) } },
    'JSON::XS relaxed' => sub { require JSON::XS; my $json = JSON::XS->new->utf8->relaxed->max_depth(2000); sub { model_of($json->decode($_[1])) } },
    'Cpanel::JSON::XS' => sub { require Cpanel::JSON::XS; my $json = Cpanel::JSON::XS->new->utf8->max_depth(2000); sub { model_of($json->decode($_[1])) } },
    'Cpanel::JSON::XS relaxed' => sub { require Cpanel::JSON::XS; my $json = Cpanel::JSON::XS->new->utf8->relaxed->allow_barekey->allow_singlequote->max_depth(2000); sub { model_of($json->decode($_[1])) } },
    'Mojo::JSON'       => sub { $ENV{MOJO_NO_JSON_XS} = 1; require Mojo::JSON; sub { model_of(Mojo::JSON::decode_json($_[1])) } },
    'YAML::XS'         => sub { require YAML::XS; sub { model_of(YAML::XS::Load($_[1])) } },
);

my %form = (
    'CGI' => sub {
        require CGI;
        of_file(sub {
            CGI::initialize_globals();
            my $cgi = CGI->new;
            die $cgi->cgi_error if $cgi->cgi_error;
            my @values = $cgi->multi_param('model');
            return only(map { ref $_ ? do { local $/; my $file = $_; scalar <$file> } : $_ } @values);
        });
    },
    'HTTP::Body' => sub {
        require HTTP::Body;
        sub {
            my $body = HTTP::Body->new($_[0], length $_[1]);
            $body->add($_[1]);
            my $value = $body->param->{model};
            return ref $value ? only(@$value) : $value;
        };
    },
    'Mojolicious' => sub {
        require Mojo::Message::Request;
        sub {
            my $request = Mojo::Message::Request->new;
            $request->parse("POST / HTTP/1.1\r\nContent-Type: $_[0]\r\nContent-Length: " . length($_[1]) . "\r\n\r\n$_[1]");
            die $request->error->{message} if $request->error;
            my $value = $request->body_params->param('model');
            utf8::encode($value) if defined $value && utf8::is_utf8($value);
            return $value;
        };
    },
    'Plack' => sub {
        require Plack::Request;
        of_file(sub {
            my ($type, $body, $input) = @_;
            my $request = Plack::Request->new({REQUEST_METHOD => 'POST', CONTENT_TYPE => $type,
                CONTENT_LENGTH => length $body, QUERY_STRING => '', 'psgi.input' => $input, 'psgix.input.buffered' => 1});
            return $request->body_parameters->get('model');
        });
    },
);

my %makers = ($ARGV[0] // '') eq 'form' ? %form : %json;
open my $output, '>&:raw', \*STDOUT or die;
open STDOUT, '>&', \*STDERR or die;
open my $source, '<&:raw', \*STDIN or die;

sub put { my $text = shift; print $output pack('N', length $text), $text }
sub take { my $length = shift; my $got = read $source, my $data, $length; exit unless $got == $length; return $data }
sub number { return unpack 'N', take(4) }
sub field { my $length = number(); return $length ? take($length) : '' }

my %readers;
my @started = map {
    my $name = $_;
    my $error = eval { $readers{$name} = $makers{$name}->(); 1 } ? '' : "$@";
    ($name, $error);
} sort keys %makers;
print $output pack 'N', @started / 2;
put($_) for @started;
$output->flush;
my @batch;
while (1) {
    if (take(1) eq 'B') {
        @batch = map { [field(), field()] } 1 .. number();
        next;
    }
    my $read = $readers{field()};
    my $begin = number();
    my $end = time + number() / 1000;
    my @outcomes = ('S') x @batch;
    for my $offset (0 .. $#batch) {
        my $at = ($begin + $offset) % @batch;
        my $value;
        if (eval { $value = $read->(@{$batch[$at]}); 1 }) {
            $outcomes[$at] = defined $value ? "V$value" : 'A';
        }
        else {
            $outcomes[$at] = 'E' . substr "$@", 0, 200;
        }
        utf8::encode($outcomes[$at]) if utf8::is_utf8($outcomes[$at]);
        last if time > $end;
    }
    put($_) for @outcomes;
    $output->flush;
}
