// Self-checking bench of the Verilog of the tiny preset, for simulators with four states.
//
// A request is denied while translation is off; then a write and a read behind it reach memory.
// Ends with a line PASS, or with FAIL and what is wrong.

`timescale 1ns / 1ps

module bench;
  reg clk = 0, rst = 1;
  always #5 clk = ~clk;

  // A cheap random bit per handshake signal, so that everything has to wait now and then.
  reg [15:0] noise = 16'hACE1;
  always @(posedge clk) noise <= {noise[14:0], noise[15] ^ noise[13] ^ noise[12] ^ noise[10]};

  task fail(input [8*40-1:0] what);
    begin
      $display("FAIL at %0t: %0s", $time, what);
      $finish;
      #1;  // $finish takes effect at the end of the time step
    end
  endtask

  // Device

  reg          rx_valid = 0, rx_first = 0, rx_last = 0;
  reg  [1:0]   rx_strb = 0;
  reg  [127:0] rx_hdr = 0;
  reg  [63:0]  rx_data = 0;
  wire         rx_ready, tx_valid, tx_first, tx_last, tx_prefix_valid;
  wire [1:0]   tx_strb, np_release;
  wire [127:0] tx_hdr;
  wire [63:0]  tx_data;
  wire         tx_ready = noise[0];

  integer completions = 0, payload = 0, released = 0;
  reg [127:0] completion;
  reg [31:0]  received [0:15];

  always @(posedge clk) if (!rst) begin
    released <= released + np_release;
    if (tx_valid && tx_ready) begin
      if (tx_first) completion <= tx_hdr;
      if (tx_strb[0]) received[tx_first ? 0 : payload] <= tx_data[31:0];
      if (tx_strb[1]) received[(tx_first ? 0 : payload) + 1] <= tx_data[63:32];
      payload <= (tx_first ? 0 : payload) + tx_strb[0] + tx_strb[1];
      if (tx_last) completions <= completions + 1;
    end
  end

  task beat(input first, input last, input [1:0] strb, input [127:0] hdr, input [63:0] data);
    begin
      rx_valid <= 1; rx_first <= first; rx_last <= last;
      rx_strb <= strb; rx_hdr <= hdr; rx_data <= data;
      @(posedge clk);
      while (!rx_ready) @(posedge clk);
      rx_valid <= 0;
    end
  endtask

  task wait_for_completion(input integer number);
    integer clocks;
    begin
      clocks = 0;
      while (completions < number && clocks < 2000) begin
        @(posedge clk);
        clocks = clocks + 1;
      end
      if (completions != number) fail("no completion");
      #1;
    end
  endtask

  // Memory behind the port `dma`: 16 KiB, seen at every address. Addresses are checked apart.

  reg  [63:0] memory [0:2047];
  wire        awvalid, wvalid, wlast, bready, arvalid, rready;
  wire [2:0]  awid, arid, awsize, arsize;
  wire [39:0] awaddr, araddr;
  wire [7:0]  awlen, arlen, wstrb;
  wire [1:0]  awburst, arburst;
  wire [3:0]  awcache, arcache;
  wire [63:0] wdata;
  reg         writing = 0, bvalid = 0, reading = 0;
  reg  [2:0]  bid, rid;
  reg  [39:0] write_at, last_write, read_at, last_read;
  reg  [7:0]  last_awlen, beats, last_arlen;
  integer     writes = 0, reads = 0, responses = 0, n;
  wire        awready = !writing && !bvalid && noise[1];
  wire        wready  = writing && noise[2];
  wire        arready = !reading && noise[3];
  wire        rvalid  = reading && noise[4] | held;
  reg         held = 0;  // valid stays until the transfer
  wire [63:0] rdata   = memory[read_at[13:3]];
  wire        rlast   = beats == 0;

  always @(posedge clk) if (!rst) begin
    if (awvalid && awready) begin
      writing <= 1; write_at <= awaddr; bid <= awid;
      last_write <= awaddr; last_awlen <= awlen; writes <= writes + 1;
      if (awburst != 1 || awsize != 3 || awcache[0]) fail("kind of write burst");
    end
    if (wvalid && wready) begin
      for (n = 0; n < 8; n = n + 1)
        if (wstrb[n]) memory[write_at[13:3]][8*n +: 8] <= wdata[8*n +: 8];
      write_at <= write_at + 8;
      if (wlast) begin writing <= 0; bvalid <= 1; end
    end
    if (bvalid && bready) begin bvalid <= 0; responses <= responses + 1; end
    held <= rvalid && !rready;
    if (arvalid && arready) begin
      reading <= 1; read_at <= araddr; beats <= arlen; rid <= arid;
      last_read <= araddr; last_arlen <= arlen; reads <= reads + 1;
      if (arburst != 1 || arsize != 3 || arcache[0]) fail("kind of read burst");
      if (responses != writes) fail("read before the write it follows");
    end
    if (rvalid && rready) begin
      read_at <= read_at + 8; beats <= beats - 1;
      if (rlast) reading <= 0;
    end
  end

  // Software

  reg         csr_awvalid = 0, csr_wvalid = 0, csr_arvalid = 0;
  reg  [20:0] csr_address = 0;
  reg  [63:0] csr_wdata = 0, value = 0;
  reg  [7:0]  csr_wstrb = 0;
  wire        csr_awready, csr_wready, csr_bvalid, csr_arready, csr_rvalid;
  wire [1:0]  csr_bresp, csr_rresp;
  wire [63:0] csr_rdata;

  task read_csr(input [15:0] address);
    begin
      csr_address <= address; csr_arvalid <= 1;
      @(posedge clk);
      while (!csr_arready) @(posedge clk);
      csr_arvalid <= 0;
      while (!csr_rvalid) @(posedge clk);
      value = csr_rdata;
      if (csr_rresp != 0) fail("register read");
      @(posedge clk);
    end
  endtask

  task write_csr(input [15:0] address, input [63:0] data);
    begin
      csr_address <= address; csr_wdata <= data; csr_wstrb <= 8'hff;
      csr_awvalid <= 1; csr_wvalid <= 1;
      while (csr_awvalid || csr_wvalid) begin
        @(posedge clk);
        if (csr_awready) csr_awvalid <= 0;
        if (csr_wready) csr_wvalid <= 0;
        #1;
      end
      while (!csr_bvalid) @(posedge clk);
      if (csr_bresp != 0) fail("register write");
      @(posedge clk);
    end
  endtask

  wire       table_awvalid, table_arvalid;
  wire [3:0] wsi;
  wire [1:0] irq_wires;
  wire       port_interrupt, pio_awready, pio_wready, pio_bvalid, pio_arready, pio_rvalid;

  iovirt_tiny dut (
    .clk(clk), .rst(rst), .wsi(wsi), .irq_wires(irq_wires),
    .link_up(1'b1), .link_speed(4'd1), .link_width(6'd1), .port_interrupt(port_interrupt),
    .pio__awid(6'b0), .pio__awaddr(40'b0), .pio__awlen(8'b0), .pio__awsize(3'b0),
    .pio__awburst(2'b1), .pio__awlock(1'b0), .pio__awcache(4'b0), .pio__awprot(3'b0),
    .pio__awqos(4'b0), .pio__awvalid(1'b0), .pio__awready(pio_awready), .pio__wdata(64'b0),
    .pio__wstrb(8'b0), .pio__wlast(1'b0), .pio__wvalid(1'b0), .pio__wready(pio_wready),
    .pio__bvalid(pio_bvalid), .pio__bready(1'b1), .pio__arid(6'b0), .pio__araddr(40'b0),
    .pio__arlen(8'b0), .pio__arsize(3'b0), .pio__arburst(2'b1), .pio__arlock(1'b0),
    .pio__arcache(4'b0), .pio__arprot(3'b0), .pio__arqos(4'b0), .pio__arvalid(1'b0),
    .pio__arready(pio_arready), .pio__rvalid(pio_rvalid), .pio__rready(1'b1),
    .rx__data(rx_data), .rx__strb(rx_strb), .rx__hdr(rx_hdr), .rx__prefix(32'b0),
    .rx__prefix_valid(1'b0), .rx__segment(8'd0), .rx__first(rx_first), .rx__last(rx_last),
    .rx__nullify(1'b0), .rx__valid(rx_valid), .rx__ready(rx_ready),
    .tx__data(tx_data), .tx__strb(tx_strb), .tx__hdr(tx_hdr), .tx__prefix_valid(tx_prefix_valid),
    .tx__first(tx_first), .tx__last(tx_last), .tx__valid(tx_valid), .tx__ready(tx_ready),
    .tx_fc_ph(8'hff), .tx_fc_pd(12'hfff), .tx_fc_nph(8'hff), .tx_fc_npd(12'hfff),
    .tx_fc_cplh(8'hff), .tx_fc_cpld(12'hfff), .np_release(np_release),
    .dma__awid(awid), .dma__awaddr(awaddr), .dma__awlen(awlen), .dma__awsize(awsize),
    .dma__awburst(awburst), .dma__awcache(awcache), .dma__awvalid(awvalid),
    .dma__awready(awready), .dma__wdata(wdata), .dma__wstrb(wstrb), .dma__wlast(wlast),
    .dma__wvalid(wvalid), .dma__wready(wready), .dma__bid(bid), .dma__bresp(2'b0),
    .dma__bvalid(bvalid), .dma__bready(bready), .dma__arid(arid), .dma__araddr(araddr),
    .dma__arlen(arlen), .dma__arsize(arsize), .dma__arburst(arburst), .dma__arcache(arcache),
    .dma__arvalid(arvalid), .dma__arready(arready), .dma__rid(rid), .dma__rdata(rdata),
    .dma__rresp(2'b0), .dma__rlast(rlast), .dma__rvalid(rvalid), .dma__rready(rready),
    .table__awvalid(table_awvalid), .table__awready(1'b0), .table__wready(1'b0),
    .table__bid(8'b0), .table__bresp(2'b0), .table__bvalid(1'b0),
    .table__arvalid(table_arvalid), .table__arready(1'b0), .table__rid(8'b0),
    .table__rdata(64'b0), .table__rresp(2'b0), .table__rlast(1'b0), .table__rvalid(1'b0),
    .csr__awaddr(csr_address), .csr__awprot(3'b0), .csr__awvalid(csr_awvalid),
    .csr__awready(csr_awready), .csr__wdata(csr_wdata), .csr__wstrb(csr_wstrb),
    .csr__wvalid(csr_wvalid), .csr__wready(csr_wready), .csr__bresp(csr_bresp),
    .csr__bvalid(csr_bvalid), .csr__bready(1'b1), .csr__araddr(csr_address),
    .csr__arprot(3'b0), .csr__arvalid(csr_arvalid), .csr__arready(csr_arready),
    .csr__rdata(csr_rdata), .csr__rresp(csr_rresp), .csr__rvalid(csr_rvalid),
    .csr__rready(1'b1));

  always @(negedge clk) if (!rst) begin
    if (^{rx_ready, tx_valid, np_release, awvalid, wvalid, bready, arvalid, rready, csr_awready,
          csr_wready, csr_bvalid, csr_arready, csr_rvalid, table_awvalid, table_arvalid, wsi,
          irq_wires, port_interrupt, pio_awready, pio_wready, pio_bvalid, pio_arready, pio_rvalid}
        === 1'bx) fail("a control output is unknown");
    if (tx_valid && ^{tx_hdr, tx_first, tx_last, tx_strb, tx_prefix_valid} === 1'bx)
      fail("a TLP is unknown");
    if (table_awvalid || table_arvalid) fail("no table is needed in Off and Bare");
  end

  integer i;
  initial begin
    for (i = 0; i < 2048; i = i + 1) memory[i] = {16'hA5A5, i[15:0], 16'h5A5A, i[15:0]};
    repeat (4) @(posedge clk);
    rst <= 0;
    value = 0;
    for (i = 0; i < 1000 && !value[32]; i = i + 1) read_csr(16'h2004);
    if (!value[32]) fail("tables were never cleared");
    read_csr(16'h0000);
    if (value[7:0] != 8'h10) fail("version of the architecture");
    if (value[37:32] != 40) fail("physical address width");
    if (!value[17] || value[18] || value[19]) fail("second-stage modes");

    // Off denies: a read is answered UR, a write disappears. 3-DW headers, tag 0x11.
    write_csr(16'h2010, {16'h0, 16'h00A8, 32'h0});
    beat(1, 1, 2'b11, {64'h40000002_0310_00_FF, 32'h0000_1000, 32'h0}, 64'h0123456789ABCDEF);
    beat(1, 1, 2'b00, {64'h00000004_0310_11_FF, 32'h0000_1008, 32'h0}, 64'h0);
    wait_for_completion(1);
    if (completion[127:32] != 96'h0A000000_00A8_2010_0310_11_08) fail("header of UR");
    if (payload != 0) fail("data with UR");

    // Bare passes untranslated: 5 Dwords from 0x1004 on, without the first byte and the last two.
    write_csr(16'h0010, 64'h1);
    read_csr(16'h0010);
    if (value != 64'h1) fail("ddtp");
    beat(1, 0, 2'b11, {64'h40000005_0310_00_3E, 32'h0000_1004, 32'h0}, 64'h17161514_13121110);
    beat(0, 0, 2'b11, 128'h0, 64'h27262524_23222120);
    beat(0, 1, 2'b01, 128'h0, 64'hFFFFFFFF_33323130);
    // A read behind it, above 4 GiB and therefore with 4 Dwords of header, tag 0x5A.
    beat(1, 1, 2'b00, {64'h20000006_0310_5A_FF, 64'h00000012_00001004}, 64'h0);
    wait_for_completion(2);
    if (writes != 1 || reads != 1) fail("number of bursts");
    if (last_write[39:3] != 40'h1000 >> 3 || last_awlen != 2) fail("burst of the write");
    if (last_read[39:3] != 40'h12_0000_1000 >> 3 || last_arlen != 3) fail("burst of the read");
    if (memory[512] != 64'h13121100_5A5A0200) fail("first bytes in memory");
    if (memory[513] != 64'h23222120_17161514) fail("middle bytes in memory");
    if (memory[514] != 64'hA5A53130_27262524) fail("last bytes in memory");
    if (completion[127:32] != 96'h4A000006_00A8_0018_0310_5A_04) fail("header of CplD");
    if (payload != 6) fail("length of CplD");
    for (i = 0; i < 6; i = i + 1)
      if (received[i] !== memory[(i + 1) / 2 + 512][32 * ((i + 1) % 2) +: 32]) fail("read data");
    repeat (20) @(posedge clk);
    if (released != 2) fail("credits of non-posted requests");
    if (completions != 2 || writes != 1) fail("something came late");
    $display("PASS");
    $finish;
  end
endmodule
