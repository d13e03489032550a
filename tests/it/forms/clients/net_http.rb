# usage: net_http.rb URL
require "json"
require "net/http"
require "stringio"

names = JSON.parse(File.read("#{__dir__}/names.json"))
url = URI("#{ARGV[0]}/audio/transcriptions")
request = Net::HTTP::Post.new(url)
parts = names.each_with_index.map do |name, i|
  # net/http sends line ends in file names as they are.
  name = name.tr("\r\n", " ")
  ["file#{i}", StringIO.new("ID3\r\n--\r\n\xff"), { filename: name, content_type: "audio/mpeg" }]
end
request.set_form([*parts, %w[language größe], %w[model whisper-1]], "multipart/form-data")
Net::HTTP.start(url.host, url.port) { |http| http.request(request) }.value
