/* Behind a kernel that is compiled to SPIR-V: the entry "main". The parameters lie at the address in the push constant,
 * the constants are specialisation constants. */
#define SPEC(i) layout(constant_id = i) const uint spec_##i = 0u
SPEC(0);
SPEC(1);
SPEC(2);
SPEC(3);
SPEC(4);
SPEC(5);
SPEC(6);
SPEC(7);
#if CONSTANTS > 8
SPEC(8);
SPEC(9);
SPEC(10);
SPEC(11);
SPEC(12);
SPEC(13);
SPEC(14);
SPEC(15);
SPEC(16);
SPEC(17);
SPEC(18);
SPEC(19);
SPEC(20);
SPEC(21);
SPEC(22);
SPEC(23);
SPEC(24);
SPEC(25);
SPEC(26);
SPEC(27);
SPEC(28);
SPEC(29);
SPEC(30);
SPEC(31);
SPEC(32);
SPEC(33);
SPEC(34);
SPEC(35);
SPEC(36);
SPEC(37);
SPEC(38);
SPEC(39);
SPEC(40);
SPEC(41);
SPEC(42);
SPEC(43);
SPEC(44);
SPEC(45);
SPEC(46);
SPEC(47);
SPEC(48);
SPEC(49);
SPEC(50);
SPEC(51);
SPEC(52);
SPEC(53);
SPEC(54);
SPEC(55);
SPEC(56);
SPEC(57);
SPEC(58);
SPEC(59);
SPEC(60);
SPEC(61);
SPEC(62);
SPEC(63);
SPEC(64);
SPEC(65);
SPEC(66);
SPEC(67);
SPEC(68);
SPEC(69);
SPEC(70);
SPEC(71);
SPEC(72);
SPEC(73);
SPEC(74);
SPEC(75);
SPEC(76);
SPEC(77);
SPEC(78);
SPEC(79);
SPEC(80);
SPEC(81);
SPEC(82);
SPEC(83);
SPEC(84);
SPEC(85);
SPEC(86);
SPEC(87);
SPEC(88);
SPEC(89);
SPEC(90);
SPEC(91);
SPEC(92);
SPEC(93);
SPEC(94);
SPEC(95);
#endif

void main() {
#if CONSTANTS > 8
    const uint v[96] = uint[](
        spec_0, spec_1, spec_2, spec_3, spec_4, spec_5, spec_6, spec_7, spec_8, spec_9, spec_10, spec_11, spec_12,
        spec_13, spec_14, spec_15, spec_16, spec_17, spec_18, spec_19, spec_20, spec_21, spec_22, spec_23, spec_24,
        spec_25, spec_26, spec_27, spec_28, spec_29, spec_30, spec_31, spec_32, spec_33, spec_34, spec_35, spec_36,
        spec_37, spec_38, spec_39, spec_40, spec_41, spec_42, spec_43, spec_44, spec_45, spec_46, spec_47, spec_48,
        spec_49, spec_50, spec_51, spec_52, spec_53, spec_54, spec_55, spec_56, spec_57, spec_58, spec_59, spec_60,
        spec_61, spec_62, spec_63, spec_64, spec_65, spec_66, spec_67, spec_68, spec_69, spec_70, spec_71, spec_72,
        spec_73, spec_74, spec_75, spec_76, spec_77, spec_78, spec_79, spec_80, spec_81, spec_82, spec_83, spec_84,
        spec_85, spec_86, spec_87, spec_88, spec_89, spec_90, spec_91, spec_92, spec_93, spec_94, spec_95);
#else
    const uint v[8] = uint[](spec_0, spec_1, spec_2, spec_3, spec_4, spec_5, spec_6, spec_7);
#endif
    kernel(root.p, constants(v));
}
