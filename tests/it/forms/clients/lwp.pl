# usage: lwp.pl URL
use strict;
use warnings;
use HTTP::Request::Common qw(POST);
use LWP::UserAgent;

# LWP sends line ends in file names as they are.
my @files = ('größe ☃ \"q\" b ; x=y, %22 boundary=xyz.mp3', 'name=\"model\".mp3');
my $content = "ID3\r\n--\r\n\xff";
my @parts = map { ("file$_" => [undef, $files[$_], 'Content-Type' => 'audio/mpeg', Content => $content]) } 0 .. 1;
my $request = POST "$ARGV[0]/audio/transcriptions",
    Content_Type => 'form-data',
    Content => [model => 'whisper-1', @parts, language => 'größe'];
die unless LWP::UserAgent->new->request($request)->is_success;
